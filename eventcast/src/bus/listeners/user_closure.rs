//! A listener's closure.

use std::{ops::Deref, sync::Arc};

use super::identity::ListenerIdentity;
use crate::bus::process::user_code;

/// A closure of the user's, behind a trait that calls it. [`user_code`] drops it, whichever thread
/// holds it last, and a panic in the drop is reported as the listener's.
pub(crate) struct UserClosure<C: ?Sized + Send + Sync + 'static> {
    /// `None` while it is being dropped.
    closure: Option<Box<C>>,
    /// Nothing runs when the closure is dropped.
    is_trivial: bool,
    identity: Arc<ListenerIdentity>,
}

impl<C: ?Sized + Send + Sync + 'static> UserClosure<C> {
    /// `is_trivial` says that nothing runs when the closure is dropped.
    pub(crate) fn new(closure: Box<C>, is_trivial: bool, identity: Arc<ListenerIdentity>) -> Self {
        Self {
            closure: Some(closure),
            is_trivial,
            identity,
        }
    }

    pub(crate) fn identity(&self) -> &Arc<ListenerIdentity> {
        &self.identity
    }
}

impl<C: ?Sized + Send + Sync + 'static> Deref for UserClosure<C> {
    type Target = C;

    fn deref(&self) -> &C {
        let closure = self.closure.as_deref();
        closure.expect("only `drop` takes the closure out")
    }
}

impl<C: ?Sized + Send + Sync + 'static> Drop for UserClosure<C> {
    fn drop(&mut self) {
        if self.is_trivial {
            return;
        }
        let identity = Arc::clone(&self.identity);
        user_code::discard_aside(self.closure.take(), move |panicked| {
            identity.report_panic(format!("when it was dropped: {}", panicked.message));
        });
    }
}
