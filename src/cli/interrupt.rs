//! Ctrl-C and the signals that end a program (SIGTERM, SIGHUP).

use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The exit code after such a signal.
pub const CODE: u8 = 130;

/// Whether a signal has come. Until there is something to save, a signal ends the program at once, however long data take to
/// load; from then on it asks training to stop, and the second one ends the program.
#[derive(Debug, Default)]
pub struct Interrupt {
    raised: AtomicBool,
    saves: AtomicBool,
}

impl Interrupt {
    /// Listens for signals.
    pub fn listen() -> Arc<Interrupt> {
        let interrupt = Arc::new(Interrupt::default());
        let own = interrupt.clone();
        // Without the handler signals still end the program, only less gently.
        let _ = ctrlc::set_handler(move || {
            if !own.saves.load(Ordering::SeqCst) {
                eprintln!("stopped before training began");
                exit(i32::from(CODE));
            }
            if own.raised.swap(true, Ordering::SeqCst) {
                exit(i32::from(CODE));
            }
            eprintln!("stopping after the steps under way (again to stop at once)");
        });
        interrupt
    }

    /// Says that training begins: whoever does it asks [`Interrupt::is_raised`] from now on, and saves what there is.
    pub fn training_begins(&self) {
        self.saves.store(true, Ordering::SeqCst);
    }

    /// Whether training is to stop.
    pub fn is_raised(&self) -> bool {
        self.raised.load(Ordering::SeqCst)
    }
}
