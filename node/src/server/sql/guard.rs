//! A panic while a statement is worked on fails that statement, and nothing else (T65).
//!
//! Everything else that panics ends the node. What a statement touches belongs to it: its session is closed with
//! it, and its transaction is given up.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

static CAUGHT: AtomicU64 = AtomicU64::new(0);

/// Whether a panic of this thread, now, is caught: for the hook that ends the process at any other.
#[must_use]
pub fn is_guarded() -> bool {
    GUARDED.get()
}

/// How many were caught.
pub(in crate::server) fn caught() -> u64 {
    CAUGHT.load(Ordering::Relaxed)
}

/// A statement panicked; the hook has said where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Panicked;

/// Runs the future; a panic ends it.
pub(super) async fn guarded<T>(future: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        GUARDED.set(true);
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        GUARDED.set(false);
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(_) => {
                CAUGHT.fetch_add(1, Ordering::Relaxed);
                Poll::Ready(Err(Panicked))
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn panic_is_counted_and_ends_only_its_future() {
        let before = caught();
        assert_eq!(guarded(async { 7 }).await, Ok(7));
        let panics = guarded(async {
            tokio::task::yield_now().await;
            assert!(!is_guarded(), "a panic here is caught");
        });
        assert_eq!(panics.await, Err(Panicked));
        assert_eq!(caught(), before + 1);
        assert!(!is_guarded());
    }
}
