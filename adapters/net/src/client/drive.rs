//! Drives one provider: its connection, its timers, its store.

use super::dial::{Address, Failure, dial};
use super::options::Options;
use super::shared::{Command, Shared};
use super::socket::{Incoming, Socket};
use crate::runtime::Runtime;
use crate::store::Inbox;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use yroom::provider::{Event, Input, LinkId, Output, Phase, Provider};
use yroom::{CloseCode, Limits, Timestamp};

/// How long the server may take over the closing handshake.
const CLOSING: Duration = Duration::from_secs(2);

/// Frames that are read before the others of this thread have their turn.
const BURST: usize = 64;

pub(super) struct Drive {
    provider: Provider,
    address: Address,
    options: Options,
    limits: Limits,
    shared: Arc<Shared>,
    inbox: Inbox,
    epoch: Instant,
    /// Whether something has happened since the session was last told.
    news: bool,
}

type Dialling = Pin<Box<dyn Future<Output = Result<Socket, Failure>>>>;
type Task = Pin<Box<dyn Future<Output = ()>>>;

/// The connection, as far as it is.
enum Line {
    None,
    Dialling(LinkId, Dialling),
    Open(Box<OpenLine>),
}

struct OpenLine {
    id: LinkId,
    socket: Socket,
    paused: bool,
}

/// What lives on the runtime's thread.
struct Running<R> {
    drive: Drive,
    runtime: R,
    line: Line,
    timer: Option<(Timestamp, Task)>,
    /// Connections that are being closed.
    closing: Vec<Task>,
}

impl Drive {
    pub(super) fn new(
        provider: Provider,
        address: Address,
        options: Options,
        shared: Arc<Shared>,
    ) -> Self {
        let limits = options.engine().limits;
        let (inbox, epoch) = (Inbox::new(), Instant::now());
        Self { provider, address, options, limits, shared, inbox, epoch, news: false }
    }

    /// Runs until the session is closed and everything stored.
    pub(super) async fn run<R: Runtime>(mut self: Box<Self>, runtime: R) {
        let now = self.now();
        self.provider.connect(now);
        let (line, timer, closing) = (Line::None, None, Vec::new());
        let mut running = Running { drive: *self, runtime, line, timer, closing };
        poll_fn(|cx| running.poll(cx)).await;
    }

    fn now(&self) -> Timestamp {
        let age = self.epoch.elapsed().as_micros();
        Timestamp::from_micros(u64::try_from(age).unwrap_or(u64::MAX))
    }

    fn handle(&mut self, input: Input) {
        let now = self.now();
        self.provider.handle(now, input);
    }

    fn obey(&mut self, command: Command) {
        let now = self.now();
        match command {
            Command::Edited(told) => {
                told.store(false, Ordering::Release);
                self.provider.handle(now, Input::Edited);
            }
            Command::Confirm(number) => {
                let upto = self.provider.confirm(now);
                self.shared.change(|state| {
                    let flush = state.flushes.get_mut(&number);
                    flush.map(|flush| *flush = upto).is_some()
                });
            }
            Command::Presence(state) => {
                // It was checked when it was given, by the default limits.
                let _ = self.provider.set_presence(now, state.as_deref());
            }
            Command::Resync => self.provider.resync(now),
            Command::Close => self.provider.shutdown(now),
        }
    }

    /// Keeps what the session may ask for; it is told of it by `publish`.
    fn note(&mut self, event: Event) {
        self.news = true;
        self.shared.change(|state| {
            let status = &mut state.status;
            match event {
                Event::Phase(Phase::Synced) => status.trouble = None,
                Event::Retrying { reason, .. } => status.trouble = Some(reason),
                Event::StoreFailed { fault } => status.trouble = Some(fault.to_string()),
                Event::Stopped(reason) => status.stopped = Some(reason),
                Event::Confirmed { by, .. } => status.confirmed_by = Some(by),
                Event::Presence(_) => {
                    let others = self.provider.others();
                    state.others =
                        others.map(|(client, json)| (client.0, json.to_owned())).collect();
                    state.others_version += 1;
                }
                _ => {}
            }
            false
        });
    }

    /// Shows the session how things stand, if that has changed.
    fn publish(&mut self) {
        let news = std::mem::take(&mut self.news);
        let (phase, edits) = (self.provider.phase(), self.provider.edits());
        let confirmed = self.provider.confirmed();
        self.shared.change(|state| {
            let status = &mut state.status;
            let same =
                status.phase == phase && (status.edits, status.confirmed) == (edits, confirmed);
            if same && !news {
                return false;
            }
            status.phase = phase;
            status.edits = edits;
            status.confirmed = confirmed;
            state.status_version += 1;
            true
        });
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        self.shared.commands.close();
        self.shared.change(|state| {
            state.over = true;
            true
        });
    }
}

impl<R: Runtime> Running<R> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut burst = BURST;
        loop {
            let mut busy = self.poll_session(cx);
            busy |= self.poll_store(cx);
            busy |= self.poll_dialling(cx);
            busy |= self.poll_reading(cx, &mut burst);
            busy |= self.carry_out();
            busy |= self.poll_flushing(cx);
            busy |= self.poll_timer(cx);
            self.closing.retain_mut(|task| task.as_mut().poll(cx).is_pending());
            if !busy {
                break;
            }
        }
        self.drive.publish();
        let finished = self.drive.provider.is_finished() && self.closing.is_empty();
        if finished { Poll::Ready(()) } else { Poll::Pending }
    }

    fn poll_session(&mut self, cx: &mut Context<'_>) -> bool {
        let Poll::Ready(commands) = self.drive.shared.commands.poll_take(cx) else { return false };
        for command in commands {
            self.drive.obey(command);
        }
        true
    }

    fn poll_store(&mut self, cx: &mut Context<'_>) -> bool {
        let Poll::Ready(answers) = self.drive.inbox.poll_take(cx) else { return false };
        for answer in answers {
            let input = match answer {
                yroom::Input::Loaded { result, .. } => Input::Loaded(result),
                yroom::Input::Durable { upto, .. } => Input::Durable(upto),
                yroom::Input::WriteFailed { seq, fault, .. } => Input::WriteFailed(seq, fault),
                yroom::Input::Compacted { upto, result, .. } => Input::Compacted(upto, result),
                yroom::Input::Frame { .. }
                | yroom::Input::Arriving { .. }
                | yroom::Input::Flushed { .. }
                | yroom::Input::Closed { .. }
                | yroom::Input::Deleted { .. }
                | yroom::Input::Initialised { .. } => continue,
            };
            self.drive.handle(input);
        }
        true
    }

    fn poll_dialling(&mut self, cx: &mut Context<'_>) -> bool {
        let Line::Dialling(id, dialling) = &mut self.line else { return false };
        let id = *id;
        let Poll::Ready(result) = dialling.as_mut().poll(cx) else { return false };
        let input = match result {
            Ok(socket) => {
                self.line = Line::Open(Box::new(OpenLine { id, socket, paused: false }));
                Input::Connected { link: id }
            }
            Err(Failure { reason, outlook }) => {
                self.line = Line::None;
                Input::ConnectFailed { link: id, reason, outlook }
            }
        };
        self.drive.handle(input);
        true
    }

    fn poll_reading(&mut self, cx: &mut Context<'_>, burst: &mut usize) -> bool {
        let mut any = false;
        while let Line::Open(line) = &mut self.line
            && !line.paused
        {
            let link = line.id;
            if *burst == 0 {
                cx.waker().wake_by_ref();
                break;
            }
            let Poll::Ready(incoming) = line.socket.poll_read(cx) else { break };
            *burst -= 1;
            any = true;
            match incoming {
                Incoming::Frame(frame) => self.drive.handle(Input::Frame { link, frame }),
                Incoming::Control => self.drive.handle(Input::Alive { link }),
                Incoming::Text(_) => {
                    let reason = "the server sent a text frame: this protocol is binary";
                    line.socket.close(CloseCode::UNSUPPORTED, reason);
                    self.lost(reason);
                }
                Incoming::Gone => self.lost("the connection broke"),
                Incoming::Breach(code, reason) => {
                    line.socket.close(code, &reason);
                    self.lost(&reason);
                }
            }
        }
        if let Line::Open(line) = &mut self.line
            && line.socket.take_heard()
        {
            let link = line.id;
            self.drive.handle(Input::Alive { link });
        }
        any
    }

    fn poll_flushing(&mut self, cx: &mut Context<'_>) -> bool {
        let Line::Open(line) = &mut self.line else { return false };
        match line.socket.poll_flush(cx) {
            Poll::Ready(Ok(0)) | Poll::Pending => false,
            Poll::Ready(Ok(bytes)) => {
                let link = line.id;
                self.drive.handle(Input::Flushed { link, bytes });
                true
            }
            Poll::Ready(Err(_)) => {
                // What came before may say why.
                while let Line::Open(line) = &mut self.line
                    && let Poll::Ready(Incoming::Frame(_) | Incoming::Control) =
                        line.socket.poll_read(cx)
                {}
                self.lost("the connection broke");
                true
            }
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(at) = self.drive.provider.poll_timeout() else {
            self.timer = None;
            return false;
        };
        if at <= self.drive.now() {
            let now = self.drive.now();
            self.drive.provider.handle_timeout(now);
            return true;
        }
        // One that fires too early is set again: most deadlines only ever move away.
        if self.timer.as_ref().is_none_or(|(set, _)| *set > at) {
            // A millisecond later is soon enough, and saves waking too early by rounding.
            let due = self.drive.epoch + Duration::from_micros(at.as_micros() + 1000);
            self.timer = Some((at, Box::pin(self.runtime.sleep_until(due))));
        }
        let Some((_, timer)) = &mut self.timer else { return false };
        let fired = timer.as_mut().poll(cx).is_ready();
        if fired {
            self.timer = None;
        }
        fired
    }

    /// The connection is gone.
    fn lost(&mut self, why: &str) {
        let Line::Open(mut line) = std::mem::replace(&mut self.line, Line::None) else { return };
        let (code, reason) = match line.socket.farewell() {
            Some((code, reason)) => (Some(code), reason),
            None => (None, why.to_owned()),
        };
        self.drive.handle(Input::Closed { link: line.id, code, reason });
    }

    /// Carries out what the provider wants; whether there was anything.
    fn carry_out(&mut self) -> bool {
        let mut any = false;
        while let Some(output) = self.drive.provider.poll_output() {
            any = true;
            match output {
                Output::Connect { link } => {
                    let Drive { address, options, limits, .. } = &self.drive;
                    let (address, options) = (address.clone(), options.clone());
                    let dialling = dial(self.runtime.clone(), address, options, limits.clone());
                    self.line = Line::Dialling(link, Box::pin(dialling));
                }
                Output::Send { link, frame } => {
                    if let Line::Open(line) = &mut self.line
                        && line.id == link
                        && line.socket.feed(frame).is_err()
                    {
                        self.lost("the connection broke");
                    }
                }
                Output::Pause { link } => self.pause(link, true),
                Output::Resume { link } => self.pause(link, false),
                Output::Close { link, code, reason } => self.hang_up(link, code, &reason),
                Output::Store(op) => {
                    if let Some(store) = &self.drive.options.store {
                        let reply = self.drive.inbox.reply_for(&op);
                        store.submit(op, reply);
                    }
                }
                Output::Event(event) => self.drive.note(event),
            }
        }
        any
    }

    fn pause(&mut self, link: LinkId, paused: bool) {
        if let Line::Open(line) = &mut self.line
            && line.id == link
        {
            line.paused = paused;
        }
    }

    /// Closes the connection, or gives the attempt up.
    fn hang_up(&mut self, link: LinkId, code: CloseCode, reason: &str) {
        match std::mem::replace(&mut self.line, Line::None) {
            Line::Open(mut line) if line.id == link => {
                line.socket.close(code, reason);
                let deadline = self.runtime.sleep_until(Instant::now() + CLOSING);
                self.closing.push(Box::pin(close(line, deadline)));
            }
            Line::Dialling(id, _) if id == link => {}
            other => self.line = other,
        }
    }
}

/// Waits for the end of a connection that is being closed, and not for long.
async fn close(mut line: Box<OpenLine>, deadline: impl Future<Output = ()>) {
    let mut deadline = std::pin::pin!(deadline);
    poll_fn(|cx| {
        if line.socket.poll_closed(cx).is_ready() {
            return Poll::Ready(());
        }
        deadline.as_mut().poll(cx)
    })
    .await;
}
