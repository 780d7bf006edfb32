//! Panics: caught where the work around them can go on, and told by their location alone.
//!
//! A panic's message may quote what a visitor typed, so nothing here ever looks at it.

use std::cell::{Cell, RefCell};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use tokio::task::spawn_blocking;

/// A panic that was caught.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it panicked at {location}")]
pub struct Panicked {
    /// File, line and column; `unknown` where [`install_panic_hook`] was not called.
    pub location: String,
}

thread_local! {
    /// How many [`catch`] are under way on this thread.
    static CATCHING: Cell<usize> = const { Cell::new(0) };
    static LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Makes every panic that nobody catches one line that names its location and its thread, and nothing else.
///
/// Whoever catches one by [`catch`] logs it, with what is known there.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(tell));
}

fn tell(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map_or_else(|| "unknown".to_owned(), ToString::to_string);
    // Both fail only while the thread ends.
    let is_caught = CATCHING.try_with(|catching| catching.get() > 0).unwrap_or_default();
    if is_caught && LOCATION.try_with(|told| *told.borrow_mut() = Some(location.clone())).is_ok() {
        return;
    }
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    if tracing::dispatcher::has_been_set() {
        tracing::error!(location, thread, "process.panicked: this is a bug in formgate; please report the location");
    } else {
        // Nobody can be told that stderr is closed.
        drop(writeln!(std::io::stderr(), "error: formgate panicked at {location} (thread {thread}); please report it"));
    }
}

/// Does some work; a panic in it ends the work alone.
pub fn catch<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    let _catching = Catching::begin();
    catch_unwind(AssertUnwindSafe(work)).map_err(|_may_quote_a_visitor| Panicked::here())
}

/// Runs a future to its end; a panic in it ends that future alone.
pub async fn catch_async<T>(future: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut future = pin!(future);
    let poll = std::future::poll_fn(|context| match catch(|| future.as_mut().poll(context)) {
        Ok(poll) => poll.map(Ok),
        Err(panicked) => Poll::Ready(Err(panicked)),
    });
    poll.await
}

/// Runs work on a thread where it may block; it begins at once, and is finished even where the caller goes away.
///
/// A panic in it is logged, and given without its words: tokio's own error for it quotes them.
pub fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, Panicked>> + Send {
    let done = spawn_blocking(move || {
        catch(work).inspect_err(|Panicked { location }| {
            tracing::error!(
                location,
                "work.panicked: the request or task that needed it fails; please report the location"
            );
        })
    });
    async move {
        match done.await {
            Ok(done) => done,
            // Nothing panics past `catch`: the runtime is shutting down, and drops the caller next.
            Err(_never_begun) => std::future::pending().await,
        }
    }
}

impl Panicked {
    /// Goes on panicking, for a [`catch`] further out: that finds the same location.
    pub fn resume(self) -> ! {
        // Where the thread ends just now, the location is lost and nothing else.
        LOCATION.try_with(|told| *told.borrow_mut() = Some(self.location)).ok();
        std::panic::resume_unwind(Box::new(()))
    }

    fn here() -> Self {
        let told = LOCATION.try_with(|told| told.borrow_mut().take()).ok().flatten();
        Self { location: told.unwrap_or_else(|| "unknown".to_owned()) }
    }
}

/// Counted down on the way out, by a panic too.
struct Catching;

impl Catching {
    fn begin() -> Self {
        CATCHING.with(|catching| catching.set(catching.get() + 1));
        Self
    }
}

impl Drop for Catching {
    fn drop(&mut self) {
        CATCHING.with(|catching| catching.set(catching.get().saturating_sub(1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_caught_with_its_location_and_without_its_words() {
        install_panic_hook();
        let line = line!() + 1;
        let caught = catch(|| panic!("jane@example.com"));
        let panicked: Panicked = caught.map(|_: ()| ()).expect_err("a panic");
        assert!(panicked.location.starts_with(&format!("{}:{line}:", file!())), "{panicked:?}");
        assert!(!format!("{panicked} {panicked:?}").contains("jane"));
        assert_eq!(catch(|| 7), Ok(7));
        let again: Result<(), Panicked> = catch(|| panicked.clone().resume());
        assert_eq!(again, Err(panicked));
        assert_eq!(CATCHING.with(Cell::get), 0);
    }

    #[tokio::test]
    async fn work_that_may_block_panics_without_its_words() {
        install_panic_hook();
        let panicked = blocking(|| panic!("jane@example.com")).await.map(|_: ()| ()).expect_err("a panic");
        assert!(panicked.location.starts_with(file!()), "{panicked:?}");
        assert!(!format!("{panicked} {panicked:?}").contains("jane"));
        assert_eq!(blocking(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn a_future_that_panics_late_is_caught_too() {
        install_panic_hook();
        let late = async {
            tokio::task::yield_now().await;
            assert!(std::hint::black_box(false), "jane@example.com");
        };
        let panicked = catch_async(late).await.expect_err("a panic");
        assert!(panicked.location.starts_with(file!()), "{panicked:?}");
        assert_eq!(catch_async(async { 7 }).await, Ok(7));
    }
}
