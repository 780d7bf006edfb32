//! Attempts that panic: each lease is settled, and an entry that makes it happen again and again is held.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use formgate::clock::Clock;
use formgate::queue::{AttemptResult, Change, Reason, State};
use formgate::send::{PANICS_MAX, Sender};
use jiff::Timestamp;

use crate::scripted_api::Reply;
use crate::world::{World, last_attempt};

/// Makes the attempt panic that posts the lead of an address: the clock, which it looks at once it has its answer, does.
fn panicking(world: &World, address: &'static str) -> Sender {
    let armed = Arc::new(AtomicBool::new(false));
    let trigger = Arc::clone(&armed);
    world.api.rule(move |request| {
        let is_it = request.path.ends_with("/intake") && request.json()["email"] == address;
        trigger.fetch_or(is_it, Ordering::SeqCst);
        is_it.then(|| Reply::success("lead_1"))
    });
    let now_ms: Arc<AtomicI64> = Arc::clone(&world.now_ms);
    let clock = Clock::by(move || {
        assert!(!armed.swap(false, Ordering::SeqCst), "quotes jane1@example.com");
        Timestamp::from_millisecond(now_ms.load(Ordering::SeqCst)).expect("a time")
    });
    world.restarted().with_clock(clock)
}

#[tokio::test]
async fn an_attempt_that_panics_settles_its_lease_and_the_third_holds_its_entry() {
    let world = World::new().await;
    let sender = panicking(&world, "jane1@example.com");
    let id = world.queue("acme", 1).await;
    for attempts in 1..PANICS_MAX {
        sender.send_due().await;
        let entry = world.head(id).await;
        let attempts = u32::try_from(attempts).expect("small");
        assert_eq!((entry.state, entry.reason, entry.attempts), (State::Queued, Reason::Retrying, attempts));
        let last = last_attempt(&entry);
        assert_eq!((last.result, last.status), (AttemptResult::Ambiguous, None));
        assert!(!format!("{entry:?}").contains("quotes"), "the panic's message is kept nowhere");
        world.pass(3_600);
    }
    sender.send_due().await;
    assert_eq!(world.state(id).await, (State::Held, Reason::Poison, 3));
    assert!(world.head(id).await.expires_at.is_some());
    let shown = world.show(id).await;
    assert!(shown.cause.contains("report"), "{}", shown.cause);

    // Others go their way, and the same worker sends them.
    let other = world.queue("acme", 2).await;
    sender.send_due().await;
    assert_eq!(world.state(other).await.0, State::Delivered);

    // An operator's retry gives it three more.
    let entry = world.head(id).await;
    let again = Change::Retry { reading: Box::new(entry.reading) };
    assert!(world.store.amend(id, entry.revision, again, world.now()).await.expect("queued").is_done());
    sender.send_due().await;
    assert_eq!(world.state(id).await, (State::Queued, Reason::Retrying, 1));
}
