//! Heads that come slowly, and heads that are too much.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{Ends, Target, count, drip, end_of};

const SLOW: usize = 500;
/// A byte of a slow head comes so often.
const PAUSE: Duration = Duration::from_millis(500);

/// Five hundred clients that send a byte now and then.
pub(super) async fn slow(target: Target) -> Ends {
    let mut tasks = JoinSet::new();
    for number in 0..SLOW {
        tasks.spawn(async move {
            let Ok(mut connection) = target.connect(number).await else { return "closed".to_owned() };
            let head =
                b"POST /hooks/acme HTTP/1.1\r\nHost: gateway\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
            drip(&mut connection, head, PAUSE).await
        });
    }
    count(tasks).await
}

/// Heads with too many headers, too long ones, endless ones.
pub(super) async fn bombs(target: Target) -> Ends {
    let begin = "POST /hooks/acme HTTP/1.1\r\nHost: gateway\r\n";
    let bombs = [
        format!("{begin}{}\r\n", "X-Many: x\r\n".repeat(300)),
        format!("{begin}{}\r\n", "X-Many: x\r\n".repeat(20_000)),
        format!("{begin}X-Long: {}\r\n\r\n", "x".repeat(2 << 20)),
        format!("{begin}X-Endless: {}", "x".repeat(16 << 20)),
        format!("POST /{} HTTP/1.1\r\nHost: gateway\r\n\r\n", "a".repeat(1 << 20)),
        "\r\n".repeat(1 << 20),
        "x".repeat(16 << 20),
    ];
    let mut tasks = JoinSet::new();
    for (number, bomb) in bombs.into_iter().cycle().take(70).enumerate() {
        tasks.spawn(async move {
            let Ok(mut connection) = target.connect(number).await else { return "closed".to_owned() };
            // It may stop reading long before the end.
            drop(connection.write(bomb.as_bytes()).await);
            end_of(&mut connection).await
        });
    }
    count(tasks).await
}
