//! Builds a bus from its builder.

use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::runtime::Handle;

use super::{
    Bus, Transition,
    config::{ListenerQueue, builder::Builder},
    core::{Core, Parts},
    extension::Extension,
    process::{
        Process,
        random::{random, random_u64},
        user_code,
    },
    queue::bounded_queue::Bound,
};
use crate::error::Result;

impl Builder {
    /// The tokio runtime of the bus: async listeners run on it, and it is entered wherever another
    /// listener runs ([`Bus`] has the whole list). Once it has been shut down, the one within which
    /// `start` is called takes its place.
    ///
    /// Default: the one within which `build`, `start` or `on_async` is called.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let runtime = tokio::runtime::Runtime::new()?;
    /// let bus = eventcast::Bus::builder().runtime(runtime.handle().clone()).build()?;
    /// bus.on_async_named("greeting", async |args| println!("{args:?}"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Makes a stopped bus, on which listeners can be registered before any event can come.
    /// [`Bus::start`] makes it run.
    ///
    /// ```
    /// # fn main() -> eventcast::Result<()> {
    /// let bus = eventcast::Bus::builder().port(9000).build()?;
    /// bus.on_named("greeting", |args| println!("{args:?}"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::Config`](crate::Error::Config) names the option, the value and what is allowed.
    ///   Only a value that counts can be wrong: one that another place overrides, and a variable
    ///   that is none of eventcast's, are logged as warnings, and reported as
    ///   [`Notice::Warning`](crate::Notice::Warning) at the first start.
    /// - [`Error::NoRandomness`](crate::Error::NoRandomness): the system gave no random numbers.
    pub fn build(self) -> Result<Bus> {
        let drawn = random_u64()?;
        let layers = self.layers(std::env::vars_os());
        let (options, warnings) = self.options(&layers, || drawn)?;
        for warning in &warnings {
            // A subscriber of the log is the user's code.
            let _ = user_code::run(|| tracing::warn!(target: "eventcast", "{warning}"));
        }
        let drawn = u64::from_ne_bytes(random()?);
        let process = Process::new(self.runtime);
        process.runtime.adopt();
        let core = Core::new(Parts {
            id: options.id_for_start(|| drawn),
            hostname: hostname(),
            process,
            receive: self.receive,
            warnings,
            console: console(),
            #[cfg(feature = "repl")]
            settings: layers.settings(&options),
            options,
        });
        Ok(Bus::from_core(core))
    }

    /// Makes a bus, starts it, and blocks the thread until it runs: for a thread without a runtime.
    ///
    /// ```
    /// # fn main() -> eventcast::Result<()> {
    /// let bus = eventcast::Bus::builder()
    ///     .multicast_interface("127.0.0.1") // on a network, leave this line out
    ///     .start_blocking()?;
    /// bus.emit_named("greeting", "hello")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Config`](crate::Error::Config) for an option that is wrong,
    /// [`Error::Open`](crate::Error::Open) where a socket could not be opened,
    /// [`Error::Thread`](crate::Error::Thread) and
    /// [`Error::NoRandomness`](crate::Error::NoRandomness) where the system gave no thread or no
    /// random numbers.
    pub fn start_blocking(self) -> Result<Bus> {
        let bus = self.build()?;
        bus.start_blocking()?;
        Ok(bus)
    }

    /// Makes a bus and starts it.
    ///
    /// It acts when called; await the [`Start`] that it returns to get the bus. Where `Start` is
    /// dropped before it is ready, the bus stops; polled again after it was ready, it panics. A
    /// builder can be awaited as well, which is the same.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> eventcast::Result<()> {
    /// let bus = eventcast::Bus::builder()
    ///     .multicast_interface("127.0.0.1") // on a network, leave this line out
    ///     .start()
    ///     .await?;
    /// let other = eventcast::Bus::builder().port(bus.port()).multicast_interface("127.0.0.1").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Config`](crate::Error::Config) for an option that is wrong,
    /// [`Error::Open`](crate::Error::Open) where a socket could not be opened,
    /// [`Error::Thread`](crate::Error::Thread) and
    /// [`Error::NoRandomness`](crate::Error::NoRandomness) where the system gave no thread or no
    /// random numbers.
    pub fn start(self) -> Start {
        Start {
            state: Some(self.build().map(|bus| {
                let started = bus.start();
                (bus, started)
            })),
        }
    }
}

impl IntoFuture for Builder {
    type Output = Result<Bus>;
    type IntoFuture = Start;

    /// [`start`](Self::start).
    fn into_future(self) -> Start {
        self.start()
    }
}

/// A bus that is being started: a future that yields it. Where it is dropped before it is ready,
/// the bus stops; it must not be polled again when it was.
#[must_use = "the bus stops when this is dropped; await it to get the bus"]
#[derive(Debug)]
pub struct Start {
    state: Option<Result<(Bus, Transition)>>,
}

impl Future for Start {
    type Output = Result<Bus>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Bus>> {
        match self.state.take().expect("polled after it was ready") {
            Err(error) => Poll::Ready(Err(error)),
            Ok((bus, mut started)) => match Pin::new(&mut started).poll(cx) {
                Poll::Ready(result) => Poll::Ready(result.map(|()| bus)),
                Poll::Pending => {
                    self.state = Some(Ok((bus, started)));
                    Poll::Pending
                }
            },
        }
    }
}

impl From<ListenerQueue> for Bound {
    fn from(queue: ListenerQueue) -> Self {
        Self {
            items: queue.events,
            bytes: queue.bytes,
        }
    }
}

/// The console, where the feature `repl` brings one.
fn console() -> Option<Box<dyn Extension>> {
    #[cfg(feature = "repl")]
    return Some(Box::new(crate::repl::Repl::default()));
    #[cfg(not(feature = "repl"))]
    None
}

fn hostname() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}
