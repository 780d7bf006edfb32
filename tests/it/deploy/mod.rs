//! The pages of docs/deploy, and what packaging/ has for them. Each web server runs the configuration that its page shows, in
//! front of a real gateway, and keeps what docs/deploy/README.md says of it.

mod front;
mod manifests;
mod page;
mod place;
mod promises;
mod visitor;

macro_rules! behind_each_server {
    ($($promise:ident)*) => {
        behind_each_server! { nginx: Nginx: $($promise)* }
        behind_each_server! { caddy: Caddy: $($promise)* }
        behind_each_server! { apache: Apache: $($promise)* }
    };
    ($name:ident: $server:ident: $($promise:ident)*) => {
        mod $name {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                super::promises::$promise(super::front::Server::$server).await;
            })*
        }
    };
}

behind_each_server! {
    a_large_form_becomes_a_lead_whether_its_length_is_known_or_not
    a_body_over_the_limit_is_answered_413
    the_gateway_sees_the_clients_address_and_none_that_it_made_up
    no_file_has_the_token
    connections_to_the_gateway_are_kept
    while_the_gateway_is_down_nothing_is_answered_2xx_and_then_it_is_found_at_once
    plain_http_is_not_redirected
    the_doctor_finds_nothing_to_mend
    of_two_gateways_the_one_that_runs_gets_every_post
    a_gateway_that_can_not_store_costs_at_most_one_post
}

behind_each_server! { of_caddy_alone: Caddy: a_post_waits_for_a_gateway_that_restarts }
