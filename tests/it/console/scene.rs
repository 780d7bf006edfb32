//! What the pictures show: a fortnight of leads, some of which need a person.

use formgate::queue::{Filter, Order, State};
use jiff::{SignedDuration, Timestamp};

use super::stage::{Stage, Visitor, delivered, fortnight};

/// Visitors of six sites: name, address, what they wrote.
pub(crate) const VISITORS: [(&str, &str, &str, &str); 12] = [
    (
        "acme-dental",
        "Priya Raman",
        "priya@raman.example",
        "Do you have an appointment for a check-up next week? Mornings suit me best.",
    ),
    ("birch-law", "Tom D'Arcy", "tom@darcy.example", "I need help with a lease that ends in March."),
    ("acme-dental", "Hannah Ó Briain", "hannah@obriain.example", "My crown came loose. Can I come in today?"),
    ("delta-fitness", "Jürgen Groß", "juergen@gross.example", "Gibt es ein Probetraining am Wochenende?"),
    (
        "fir-travel",
        "Noor Haddad",
        "noor@haddad.example",
        "Two adults, one child, ten days in May. What would you suggest?",
    ),
    ("elm-cafe", "Élodie Marchand", "elodie@marchand.example", "Peut-on réserver la terrasse pour vingt personnes ?"),
    ("birch-law", "Grace Okafor", "grace@okafor.example", "Please call me about a will."),
    ("delta-fitness", "Käthe von Blücher", "kaethe@bluecher.example", "Ich möchte meinen Vertrag pausieren."),
    ("acme-dental", "Luis Ortega", "luis@ortega.example", "How much is whitening?"),
    ("fir-travel", "Mei-Ling Chen", "meiling@chen.example", "Is travel insurance included?"),
    ("acme-dental", "Sam Whitfield", "sam@whitfield.example", "Do you take new patients?"),
    ("birch-law", "Ruth Abrams", "ruth@abrams.example", "A question about probate."),
];

/// Sets the scene.
pub(crate) async fn set() -> Stage {
    let now = Timestamp::now();
    let stage = Stage::with("", |store| async move {
        fortnight(&store, now).await;
        for (number, (site, name, email, message)) in (0_u64..).zip(VISITORS.into_iter().rev()) {
            let at = now - SignedDuration::from_mins(60 * 3 - 13 * i64::try_from(number).expect("small"));
            delivered(&store, number, site, &Visitor { name, email, message }, at).await;
        }
    })
    .await;
    for body in [
        r#"{"your-name":"Cora Lindt","your-email":"cora@lindt","your-tel":"020 7946 0018","your-message":"My landlord keeps the deposit. What can I do?"}"#,
        r#"{"your-name":"Ben Achterberg","your-email":"ben.achterberg(at)post.example","your-message":"Can you review a contract?"}"#,
    ] {
        stage.post("birch-law/contact", body).await;
    }
    let case =
        r#"{"your-name":"Vic Stone","your-email":"vic@stone.example","case":"criminal","your-message":"Call me."}"#;
    stage.post("birch-law/consultation", case).await;
    let waiting = r#"{"your-name":"Ada Winter","your-email":"ada@winter.example","your-message":"Is the flat on Elm Road still free?"}"#;
    stage.post("cedar-homes/viewing", waiting).await;
    stage.stranger("acme-dental/contact").await;
    stage.stranger("delta-fitness/contact").await;
    stage
}

/// Returns a held lead that is set aside for want of a valid address.
pub(crate) async fn held_lead(stage: &Stage) -> String {
    let filter = Filter { state: Some(State::Held), ..Filter::default() };
    let page = stage.store.store().scan(&filter, Order::Oldest, None, 1).await.expect("read");
    page.heads.first().expect("a held lead").id.to_string()
}
