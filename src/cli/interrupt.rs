//! Ctrl-C and the signals that end a program (SIGTERM, SIGHUP), in commands that train.

use super::output::say_json;
use pinhole::error::{Error, Result};
use pinhole::run::pretrain::PretrainObserver;
use pinhole::train::{EpochReport, Observer, Warning};
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The exit code after a signal.
pub const CODE: u8 = 130;

/// How a command that did not fail ended.
pub enum End {
    Done,
    Interrupted,
}

impl End {
    /// Reports that a signal ended a command that resumes its own work.
    pub fn stopped() -> End {
        eprintln!("stopped; the same command resumes it");
        End::Interrupted
    }
}

/// Whether a signal has come. Until training begins, a signal ends the program immediately, however long data take to
/// load; from then on the first signal asks training to stop, and the second one ends the program.
#[derive(Debug, Default)]
pub struct Interrupt {
    raised: AtomicBool,
    training: AtomicBool,
}

impl Interrupt {
    /// Listens for signals.
    pub fn listen() -> Arc<Interrupt> {
        let interrupt = Arc::new(Interrupt::default());
        let handled = interrupt.clone();
        // Without the handler signals still end the program, only less gently.
        let _ = ctrlc::set_handler(move || {
            if !handled.training.load(Ordering::SeqCst) {
                eprintln!("stopped before training began");
                exit(i32::from(CODE));
            }
            if handled.raised.swap(true, Ordering::SeqCst) {
                exit(i32::from(CODE));
            }
            eprintln!("stopping after the current steps (a second signal stops immediately)");
        });
        interrupt
    }

    /// Declares that training begins: the caller asks [`Interrupt::is_raised`] from now on, and saves the run when it
    /// is.
    pub fn training_begins(&self) {
        self.training.store(true, Ordering::SeqCst);
    }

    /// Whether training is to stop.
    pub fn is_raised(&self) -> bool {
        self.raised.load(Ordering::SeqCst)
    }
}

/// Prints a line of JSON for each epoch, and stops training after a signal or where a line could not be printed.
pub struct EpochPrinter {
    interrupt: Arc<Interrupt>,
    /// The layer that is pretrained.
    layer: Option<String>,
    failure: Option<Error>,
}

/// The report of an epoch, with the layer where one is pretrained.
#[derive(serde::Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    layer: Option<&'a str>,
    #[serde(flatten)]
    report: &'a EpochReport,
}

impl EpochPrinter {
    /// A printer that a signal stops.
    pub fn new(interrupt: Arc<Interrupt>) -> EpochPrinter {
        EpochPrinter { interrupt, layer: None, failure: None }
    }

    /// The error that stopped printing.
    pub fn finish(self) -> Result<()> {
        self.failure.map_or(Ok(()), Err)
    }
}

impl Observer for EpochPrinter {
    fn epoch(&mut self, report: &EpochReport) {
        self.failure = say_json(&Line { layer: self.layer.as_deref(), report }).err();
    }

    fn warning(&mut self, warning: &Warning) {
        eprintln!("warning: {warning}");
    }

    fn stop(&mut self) -> bool {
        self.failure.is_some() || self.interrupt.is_raised()
    }
}

impl PretrainObserver for EpochPrinter {
    fn layer(&mut self, name: &str, [from, to]: [usize; 2], masking: f64) {
        self.interrupt.training_begins();
        eprintln!("pretraining {name}, {from} to {to}, with a fraction of {masking} of its inputs masked");
        self.layer = Some(name.to_owned());
    }
}
