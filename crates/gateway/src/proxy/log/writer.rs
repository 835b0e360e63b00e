//! Who writes the access log: a thread of its own, so that no request ever waits for a disk or a reader.
//!
//! Lines wait for it in a queue with a bound. When that is full, lines are dropped and counted.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use metrics::counter;
use tokio::time::Instant;

use crate::proxy::settings::{LogFormat, LogSettings, LogTarget};
use crate::values::output;

/// Lines that wait: of the longest, which no request has usually, they take 64 MiB.
const QUEUE: usize = 8_192;

/// How often the writer looks whether the file is to be opened anew and tells of dropped lines, if no line comes.
const PAUSE: Duration = Duration::from_secs(1);

/// An access log that is written; cheap to clone. The thread ends with the last clone.
#[derive(Debug, Clone)]
pub(crate) struct AccessLog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: LogSettings,
    queue: SyncSender<Message>,
    counts: Arc<Counts>,
}

/// All orderings are relaxed: a request to open the file may be seen a moment later, and the count is for people.
#[derive(Debug, Default)]
struct Counts {
    dropped: AtomicU64,
    is_reopened: AtomicBool,
}

#[derive(Debug)]
enum Message {
    Line(String),
    /// All lines before it are to be written now, and then it is answered.
    Flush(SyncSender<()>),
}

impl AccessLog {
    /// Begins the log that `settings` describe.
    pub(crate) fn open(settings: &LogSettings) -> Result<Self, (PathBuf, io::Error)> {
        let place = Place::open(&settings.target);
        let place = place.map_err(|error| (settings.target.path().to_owned(), error))?;
        let (queue, lines) = sync_channel(QUEUE);
        let counts = Arc::new(Counts::default());
        let worker = Worker {
            target: settings.target.clone(),
            place: BufWriter::new(place),
            counts: Arc::clone(&counts),
            said: 0,
            is_broken: false,
        };
        let thread = thread::Builder::new().name("access-log".to_owned()).spawn(move || worker.run(&lines));
        thread.map_err(|error| (settings.target.path().to_owned(), error))?;
        Ok(Self(Arc::new(Shared { settings: settings.clone(), queue, counts })))
    }

    /// The log that `settings` describe: this one if it is that.
    pub(crate) fn is(&self, settings: &LogSettings) -> bool {
        self.0.settings == *settings
    }

    pub(crate) fn format(&self) -> LogFormat {
        self.0.settings.format
    }

    /// Has `line` written, with its end; or counts it as dropped, if too many wait already.
    pub(crate) fn write(&self, line: String) {
        if self.0.queue.try_send(Message::Line(line)).is_err() {
            self.0.counts.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Has the file opened anew, as after it was moved away.
    pub(crate) fn reopen(&self) {
        self.0.counts.is_reopened.store(true, Relaxed);
    }

    /// Waits until all lines so far are written, but not longer than `patience`.
    pub(crate) fn flush(&self, patience: Duration) {
        let end = Instant::now() + patience;
        let (done, is_done) = sync_channel(1);
        let mut message = Message::Flush(done);
        // There may be no room for a while.
        while let Err(error) = self.0.queue.try_send(message) {
            let std::sync::mpsc::TrySendError::Full(unsent) = error else { return };
            message = unsent;
            if Instant::now() >= end {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        // An error is the end of patience, or of the thread.
        let _ = is_done.recv_timeout(end.saturating_duration_since(Instant::now()));
    }
}

/// Where lines go.
#[derive(Debug)]
enum Place {
    Stdout,
    File(File),
}

impl Place {
    fn open(target: &LogTarget) -> io::Result<Self> {
        match target {
            LogTarget::Stdout => Ok(Self::Stdout),
            LogTarget::File(path) => Ok(Self::File(OpenOptions::new().create(true).append(true).open(path)?)),
        }
    }
}

impl Write for Place {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout => io::stdout().lock().write(bytes),
            Self::File(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout => io::stdout().lock().flush(),
            Self::File(file) => file.flush(),
        }
    }
}

#[derive(Debug)]
struct Worker {
    target: LogTarget,
    place: BufWriter<Place>,
    counts: Arc<Counts>,
    /// Dropped lines that have been spoken of.
    said: u64,
    /// Whether the last try to write failed; that is said once, until one succeeds.
    is_broken: bool,
}

impl Worker {
    fn run(mut self, lines: &Receiver<Message>) {
        let mut next_look = Instant::now() + PAUSE;
        loop {
            let mut message = match lines.recv_timeout(next_look.saturating_duration_since(Instant::now())) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if self.counts.is_reopened.swap(false, Relaxed) {
                self.reopen();
            }
            while let Some(taken) = message {
                match taken {
                    Message::Line(line) => self.write(line.as_bytes()),
                    Message::Flush(done) => {
                        self.flush();
                        // Nobody may be waiting any more.
                        let _ = done.try_send(());
                    }
                }
                message = lines.try_recv().ok();
            }
            self.flush();
            if Instant::now() >= next_look {
                next_look = Instant::now() + PAUSE;
                self.tell_of_dropped();
            }
        }
        self.flush();
        self.tell_of_dropped();
    }

    fn write(&mut self, line: &[u8]) {
        let written = self.place.write_all(line);
        self.note(written);
    }

    fn flush(&mut self) {
        let flushed = self.place.flush();
        self.note(flushed);
    }

    fn note(&mut self, outcome: io::Result<()>) {
        match outcome {
            Ok(()) => self.is_broken = false,
            Err(error) => {
                self.counts.dropped.fetch_add(1, Relaxed);
                if !self.is_broken {
                    let place = self.target.path().display();
                    output::complain(&format_args!("access log: cannot write to {place}: {error}"));
                }
                self.is_broken = true;
            }
        }
    }

    /// What cannot be opened anew is written to as before.
    fn reopen(&mut self) {
        self.flush();
        match Place::open(&self.target) {
            Ok(place) => self.place = BufWriter::new(place),
            Err(error) => {
                let place = self.target.path().display();
                output::complain(&format_args!("access log: cannot open {place} anew: {error}; the old file is kept"));
            }
        }
    }

    fn tell_of_dropped(&mut self) {
        let dropped = self.counts.dropped.load(Relaxed);
        let more = dropped.saturating_sub(self.said);
        if more > 0 {
            self.said = dropped;
            counter!("tollgate_access_log_dropped_lines_total").increment(more);
            output::complain(&format_args!(
                "access log: {more} lines were dropped, because they could not be written as fast"
            ));
        }
    }
}

impl LogTarget {
    /// Its name, for messages.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Stdout => Path::new("standard output"),
            Self::File(path) => path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_the_queue_is_full_lines_are_dropped_and_counted_and_nobody_waits() {
        let (queue, lines) = sync_channel(2);
        let settings = LogSettings { format: LogFormat::Json, target: LogTarget::Stdout };
        let log = AccessLog(Arc::new(Shared { settings, queue, counts: Arc::default() }));
        for line in ["1", "2", "3", "4"] {
            log.write(line.to_owned());
        }
        assert_eq!(log.0.counts.dropped.load(Relaxed), 2);
        let start = Instant::now();
        log.flush(Duration::from_millis(20));
        assert!(start.elapsed() >= Duration::from_millis(20));
        let Ok(Message::Line(first)) = lines.try_recv() else { panic!() };
        assert_eq!(first, "1");
    }
}
