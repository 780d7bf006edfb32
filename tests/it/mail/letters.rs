//! What arrives, as Python's mail library reads it.

use formgate::event::EventType;
use formgate::notify::notice::{LeadContent, Notice, SentField, UnreadableLead};
use formgate::notify::sink::mail::fitting;

use super::events::{
    acme, change, lead, mistake, of_every_type, overdue, paused, refused, site, upstream, with_content,
};
use super::server::{MailServer, Received};

/// Tags that the HTML part is made of: nothing that loads, runs, leads elsewhere or asks.
const TAGS: [&str; 15] =
    ["b", "body", "br", "div", "h1", "h2", "h3", "head", "html", "meta", "p", "table", "td", "th", "title"];
const ATTRIBUTES: [&str; 4] = ["charset", "dir", "lang", "style"];

/// Asserts what holds of every mail, and returns it.
fn assert_sound(received: Received) -> Received {
    let mail = &received.0;
    assert_eq!(mail["type"], "multipart/alternative");
    assert_eq!(mail["defects"], serde_json::json!([]));
    assert_eq!(mail["is_ascii"], true);
    assert!(mail["longest_line"].as_u64().is_some_and(|longest| longest <= 998), "{}", mail["longest_line"]);
    let kinds: Vec<_> = mail["parts"].as_array().expect("parts").iter().map(|part| &part["type"]).collect();
    assert_eq!(kinds, ["text/plain", "text/html"], "the last one is the one that is shown");
    for kind in ["text/plain", "text/html"] {
        assert_eq!(received.part(kind)["charset"], "utf-8");
        assert_eq!(received.part(kind)["defects"], serde_json::json!([]));
    }
    let shown = &received.part("text/html")["shown"];
    for tag in shown["tags"].as_array().expect("tags") {
        assert!(TAGS.iter().chain(&["tr"]).any(|known| tag == known), "{tag}");
    }
    for attribute in shown["attributes"].as_array().expect("attributes") {
        assert!(ATTRIBUTES.iter().any(|known| attribute == known), "{attribute}");
    }
    assert!(!received.html().contains("url("), "something remote");
    received
}

#[tokio::test]
async fn a_mail_of_each_event_says_what_happened_what_it_means_and_what_to_do() {
    let mut server = MailServer::start(&[]).await;
    let mut all = String::new();
    for notice in of_every_type() {
        let received = assert_sound(server.take(std::slice::from_ref(&notice)).await);
        all += &format!("######## {}\nSubject: {}\n\n{}\n", notice.event, received.subject(), received.plain());
    }
    insta::assert_snapshot!("mail_of_each_event", all);
}

#[tokio::test]
async fn several_events_are_summed_up_by_type_and_site() {
    let mut server = MailServer::start(&[]).await;
    let mut notices =
        vec![upstream(1, EventType::GatewayUpstreamDown), paused(2, acme()), paused(3, site("bakery", None))];
    notices.push(refused(4, vec![mistake("expired_token", 401, 1, "2026-11-30T11:58:00Z")]));
    notices.push(refused(5, vec![mistake("expired_token", 401, 37, "2026-11-30T09:12:00Z")]));
    notices.extend((100..125).map(|number| lead(number, EventType::LeadOverdue, site("bakery", None))));
    notices.push(overdue(6, acme(), "Jane Doe", "Hello,\nplease call."));
    let received = assert_sound(server.take(&notices).await);
    let subject = received.subject();
    insta::assert_snapshot!("mail_summary", format!("Subject: {subject}\n\n{}", received.plain()));
    insta::assert_snapshot!("mail_summary_html", received.html());
}

#[tokio::test]
async fn a_subject_says_how_much_there_is_and_of_whom() {
    let mut server = MailServer::start(&[]).await;
    let leads = |sites: &[&str]| -> Vec<Notice> {
        sites.iter().zip(1..).map(|(id, number)| lead(number, EventType::LeadOverdue, site(id, None))).collect()
    };
    let down = upstream(90, EventType::GatewayUpstreamDown);
    let up = upstream(91, EventType::GatewayUpstreamUp);
    let mut late = leads(&["a", "a"]);
    change(&mut late[0], |facts| facts.delivered = true);
    let cases = [
        (leads(&["a", "a", "a"]), "[formgate] a: 3 leads not yet in KaiCalls"),
        (leads(&["a", "b", "a"]), "[formgate] 2 sites: 3 leads not yet in KaiCalls"),
        (late, "[formgate] a: 2 leads late for KaiCalls"),
        (vec![paused(1, acme()), paused(2, acme())], "[formgate] Acme Dental: 2 alerts"),
        (vec![paused(1, acme()), paused(2, site("b", None))], "[formgate] 2 sites: 2 alerts"),
        (vec![down.clone(), up], "[formgate] Gateway: 2 alerts"),
        (vec![down, paused(1, acme())], "[formgate] Gateway and 1 site: 2 alerts"),
    ];
    for (notices, subject) in cases {
        assert_eq!(server.take(&notices).await.subject(), subject);
    }
}

#[tokio::test]
async fn headers_say_who_sends_and_that_nobody_should_answer_by_itself() {
    let mut server = MailServer::start(&[]).await;
    let received = assert_sound(server.take(&[paused(1, acme())]).await);
    assert_eq!(received.header("From"), Some("formgate <formgate@agency.example>"));
    assert_eq!(received.header("To"), Some("owner@acme.example"));
    assert_eq!(received.header("Auto-Submitted"), Some("auto-generated"));
    assert_eq!(received.header("X-Auto-Response-Suppress"), Some("All"));
    assert_eq!(received.header("MIME-Version"), Some("1.0"));
    assert_eq!(received.header("Reply-To"), None);
    let date = received.header("Date").expect("a date");
    assert!(jiff::fmt::rfc2822::parse(date).is_ok(), "{date}");
}

#[tokio::test]
async fn mails_of_one_site_are_a_thread() {
    let mut server = MailServer::start(&[]).await;
    let every = of_every_type();
    let of = |event| every.iter().filter(|notice| notice.event == event).cloned().collect::<Vec<_>>();
    let cases = [
        (vec![paused(1, acme())], "<site-acme@forms.example>"),
        (vec![paused(1, acme()), overdue(2, acme(), "Jane", "Hi")], "<site-acme@forms.example>"),
        (vec![paused(1, acme()), paused(2, site("b", None))], "<gateway@forms.example>"),
        (vec![paused(1, acme()), upstream(2, EventType::GatewayUpstreamUp)], "<gateway@forms.example>"),
        (of(EventType::GatewayBackupFailed), "<gateway@forms.example>"),
        (of(EventType::DigestDaily), "<digest@forms.example>"),
        (of(EventType::DigestWeekly), "<digest@forms.example>"),
    ];
    for (notices, thread) in cases {
        let received = server.take(&notices).await;
        assert_eq!(received.header("References"), Some(thread));
        assert_eq!(received.header("In-Reply-To"), Some(thread));
    }
}

#[tokio::test]
async fn a_mail_that_is_sent_again_has_its_id_and_any_other_has_another() {
    let mut server = MailServer::start(&[]).await;
    let mut ids = Vec::new();
    let full = overdue(1, acme(), "Jane", "Hi");
    let bare = lead(1, EventType::LeadOverdue, acme());
    assert_eq!(full.id, bare.id);
    for notices in [vec![full.clone()], vec![full.clone()], vec![bare], vec![full.clone(), paused(2, acme())]] {
        ids.push(server.take(&notices).await.header("Message-ID").expect("an id").to_owned());
    }
    assert!(ids[0].starts_with('<') && ids[0].ends_with("@forms.example>"), "{}", ids[0]);
    assert_eq!(ids[0], ids[1]);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn an_answer_goes_to_the_visitor_only_where_the_mail_is_about_their_lead_alone() {
    let mut server = MailServer::start(&[]).await;
    let full = || overdue(1, acme(), "Jane Doe", "Hi");
    assert_eq!(server.take(&[full()]).await.header("Reply-To"), Some("jane@visitor.example"));
    let others = [
        vec![full(), overdue(2, acme(), "Joe", "Hi")],
        vec![full(), paused(2, acme())],
        vec![lead(1, EventType::LeadOverdue, acme())],
    ];
    for notices in others {
        assert_eq!(server.take(&notices).await.header("Reply-To"), None);
    }
}

#[tokio::test]
async fn what_a_visitor_wrote_is_shown_as_text() {
    let message = "<script>alert(1)</script> <img src=http://evil.example/x.png> <a href='http://evil.example'>x</a> &lt; &amp; \"q\"\n\
                   </td></table><style>body{display:none}</style><!-- \n\nLead: 0\nWhat to do:\n- pay";
    let mut server = MailServer::start(&[]).await;
    let received = assert_sound(server.take(&[overdue(1, acme(), "<b>Jane</b>", message)]).await);
    assert!(received.shown().contains(message), "{}", received.shown());
    assert!(received.shown().contains("<b>Jane</b>"), "{}", received.shown());
    assert!(!received.html().contains("<script") && !received.html().contains("<img"), "{}", received.html());
    let plain = received.plain();
    assert!(plain.contains(&indented(message)), "{plain}");
    assert_eq!(
        plain.lines().filter(|line| *line == "What to do:").count(),
        0,
        "a line that the visitor forged: {plain}"
    );
}

/// A text of several lines as the plain part has it.
fn indented(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") }).collect()
}

#[tokio::test]
async fn fields_that_make_no_lead_are_shown_whole_and_forge_no_label() {
    let field = |label: &str, value: &str| SentField { label: label.to_owned(), value: value.to_owned() };
    let fields =
        vec![field("Lead", "forged"), field("a\r\nSite: x", "b\r\nSite: y"), field("<i>", "\u{0}\u{1b}[31mred")];
    let content = LeadContent::Unreadable(UnreadableLead { fields });
    let mut server = MailServer::start(&[]).await;
    let received = assert_sound(server.take(&[with_content(lead(1, EventType::LeadHeld, acme()), content)]).await);
    let plain = received.plain();
    assert!(plain.contains("\n[Lead]: forged\n[a Site: x]:\n    b\n    Site: y\n\n[<i>]: [31mred\n"), "{plain}");
    assert!(received.shown().contains("[<i>]"), "{}", received.shown());
    assert_eq!(received.header("Reply-To"), None);
}

#[tokio::test]
async fn a_name_injects_no_header() {
    let mut server = MailServer::start(&[]).await;
    let names = [
        "Acme\r\nBcc: everybody@evil.example\r\n\r\nbody",
        "Acme\nX-Evil: 1",
        "Acme\rX-Evil: 1",
        "=?utf-8?q?Acme=0D=0ABcc:_x@evil.example?=",
        "\"Acme\" <x@evil.example>, y",
        "Zahnärzte Müller & Söhne — 歯科 🦷 عيادة",
        &"long ".repeat(80),
    ];
    for name in names {
        let received = assert_sound(server.take(&[paused(1, site("acme", Some(name)))]).await);
        assert_eq!(received.0["to"], serde_json::json!(["owner@acme.example"]));
        for header in ["Bcc", "X-Evil", "Cc"] {
            assert_eq!(received.header(header), None, "{name:?}");
        }
        assert!(received.subject().starts_with("[formgate] "), "{name:?}");
        assert!(
            received.subject().ends_with(": KaiCalls refuses the site's keys (401 Unauthorized); 12 leads wait"),
            "{name:?}"
        );
    }
    let subject = server.take(&[paused(1, site("acme", Some(names[5])))]).await;
    assert!(subject.subject().contains(names[5]), "{}", subject.subject());
}

#[tokio::test]
async fn any_script_and_length_survives() {
    let long = "ж".repeat(5_000);
    let message = format!("שלום עולם 👩‍👩‍👧‍👦 é\n.\n..dots\n. \nFrom me\n\ttab\ntrailing   \n{long}\n{}", "x".repeat(3_000));
    let mut server = MailServer::start(&[]).await;
    for text in [message.as_str(), "plain ascii", &"long ascii ".repeat(500)] {
        let received = assert_sound(server.take(&[overdue(1, acme(), "سارة حداد", text)]).await);
        let text = text.trim_end();
        let plain = received.plain();
        assert!(plain.contains("Name: سارة حداد\n"), "{plain}");
        let expected = if text.contains('\n') { indented(text) } else { format!("Message: {text}\n") };
        assert!(plain.contains(&expected), "{plain}");
        assert!(received.shown().contains(text), "{}", received.shown());
    }
}

#[tokio::test]
async fn a_hundred_overdue_leads_are_told_in_full() {
    let sites = ["acme", "bakery", "cafe"];
    let text = |number: u64| format!("Message number {number}.\nSecond line of {number}.");
    let leads: Vec<Notice> = (0..100)
        .map(|number| {
            overdue(number, site(sites[number as usize % 3], None), &format!("Visitor {number}"), &text(number))
        })
        .collect();
    let mut server = MailServer::start(&[]).await;
    let received = assert_sound(server.take(&leads).await);
    assert_eq!(received.subject(), "[formgate] 3 sites: 100 leads not yet in KaiCalls");
    let plain = received.plain();
    for number in 0..100 {
        assert_eq!(plain.matches(&format!("Name: Visitor {number}\n")).count(), 1, "{number}");
        assert!(plain.contains(&format!("Message:\n{}", indented(&text(number)))), "{number}");
        assert!(plain.contains(&format!(
            "\n{}. {}\n",
            number + 1,
            sites[usize::from(number > 33) + usize::from(number > 66)]
        )));
        assert!(received.shown().contains(&text(number)), "{number}");
    }
    assert_eq!(plain.matches("jane@visitor.example").count(), 100);
    assert_eq!(plain.matches("+15035551234").count(), 100);
}

#[test]
fn a_mail_tells_of_as_many_leads_as_a_server_takes_and_of_one_at_least() {
    let small = |number| overdue(number, acme(), "Jane", "Hi");
    let large = |number| overdue(number, acme(), "Jane", &"ж".repeat(65_000));
    let all_small: Vec<_> = (0..1_000).map(small).collect();
    assert_eq!(fitting(&all_small), 1_000);
    let all_large: Vec<_> = (0..100).map(large).collect();
    assert_eq!(fitting(&all_large), 8, "8 times 130 kB");
    assert_eq!(fitting(&all_large[..1]), 1);
    let field = SentField { label: "x".to_owned(), value: "y".repeat(4 << 20) };
    let huge = LeadContent::Unreadable(UnreadableLead { fields: vec![field] });
    assert_eq!(fitting(&[with_content(lead(1, EventType::LeadHeld, acme()), huge)]), 1);
}
