//! A peer on a blocking socket, with a WebSocket of its own: what it sends is exactly what a test says.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long a test waits for what has to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// SyncStep1 of a document without content.
pub(crate) const STEP1: &[u8] = &[0, 0, 1, 0];

/// What a server sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    Message(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16, String),
    /// The end of the stream, however it ended.
    End,
}

/// One WebSocket client.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

/// The status line and body that a request is answered with.
pub(crate) fn ask(addr: SocketAddr, request: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(addr).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A server that refuses early may reset before everything is written.
    let _ = stream.write_all(request);
    let mut answer = String::new();
    match stream.read_to_string(&mut answer) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => {
            panic!("after {answer:?}: {error}")
        }
        Ok(_) | Err(_) => {}
    }
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    (status.unwrap_or_else(|| panic!("no answer: {answer:?}")), body.unwrap_or_default())
}

/// A request that is granted, but for what a test changes in it.
pub(crate) fn request(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

impl Peer {
    /// Connects to a room.
    pub(crate) fn connect(addr: SocketAddr, room: &str) -> Self {
        let mut stream = TcpStream::connect(addr).expect("it listens");
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request(&format!("/{room}")).as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("an answer to the handshake");
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        Self::on(stream)
    }

    /// On a socket that is a WebSocket already.
    pub(crate) fn on(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Connects and waits until everything the room has is here; gives that too.
    pub(crate) fn join(addr: SocketAddr, room: &str) -> (Self, Vec<u8>) {
        let mut peer = Self::connect(addr, room);
        peer.send(STEP1);
        let step2 = peer.wait_for(|message| message.starts_with(&[0, 1]));
        (peer, step2)
    }

    pub(crate) fn send(&mut self, message: &[u8]) {
        self.try_send(message).expect("it takes the frame");
    }

    pub(crate) fn try_send(&mut self, message: &[u8]) -> io::Result<()> {
        self.stream.write_all(&frame(BINARY, message))
    }

    /// Sends an Update message.
    pub(crate) fn update(&mut self, update: &[u8]) {
        let mut message = vec![0, 2];
        varint(&mut message, update.len() as u64);
        message.extend_from_slice(update);
        self.send(&message);
    }

    /// The next thing that comes.
    pub(crate) fn next(&mut self) -> Got {
        loop {
            if let Some(got) = self.parse() {
                return got;
            }
            let mut chunk = [0; 16 << 10];
            match self.stream.read(&mut chunk) {
                Ok(read @ 1..) => self.buffer.extend_from_slice(&chunk[..read]),
                Ok(0) => return Got::End,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Got::End,
                Err(error) => panic!("nothing came: {error}"),
            }
        }
    }

    /// The next message of this kind; others are skipped, the end is none of them.
    pub(crate) fn wait_for(&mut self, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            match self.next() {
                Got::Message(message) if wanted(&message) => return message,
                Got::Message(_) | Got::Pong(_) => {}
                Got::Ping(payload) => self.stream.write_all(&frame(PONG, &payload)).unwrap(),
                end @ (Got::Close(..) | Got::End) => panic!("it ended: {end:?}"),
            }
        }
        panic!("other messages came, but not this one");
    }

    /// The next Update or SyncStep2 that has these bytes in it.
    pub(crate) fn wait_for_content(&mut self, content: &str) -> Vec<u8> {
        self.wait_for(|message| {
            matches!(message, [0, 1 | 2, ..]) && contains(message, content.as_bytes())
        })
    }

    /// The close frame that comes, whatever comes before; then the server has to end the stream.
    pub(crate) fn wait_for_close(&mut self) -> (u16, String) {
        loop {
            match self.next() {
                Got::Close(code, reason) => {
                    // As a client does; the server may have ended already.
                    let _ = self.stream.write_all(&frame(CLOSE, &code.to_be_bytes()));
                    assert_eq!(self.next(), Got::End, "after a close frame");
                    return (code, reason);
                }
                Got::End => panic!("it ended without a close frame"),
                Got::Message(_) | Got::Ping(_) | Got::Pong(_) => {}
            }
        }
    }

    /// Leaves as a client does.
    pub(crate) fn leave(mut self) {
        self.stream.write_all(&frame(CLOSE, &1000_u16.to_be_bytes())).unwrap();
        while !matches!(self.next(), Got::End) {}
    }

    fn parse(&mut self) -> Option<Got> {
        let bytes = &self.buffer;
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        let (len, start) = match second {
            126 => (u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap())), 4),
            127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()), 10),
            len => (u64::from(len), 2),
        };
        let end = start + usize::try_from(len).unwrap();
        let payload = bytes.get(start..end)?.to_vec();
        assert_eq!(first & 0xf0, 0x80, "a whole frame without extensions");
        self.buffer.drain(..end);
        Some(match first & 0x0f {
            BINARY => Got::Message(payload),
            PING => Got::Ping(payload),
            PONG => Got::Pong(payload),
            CLOSE => {
                let (code, reason) = payload.split_first_chunk::<2>().expect("a code");
                Got::Close(u16::from_be_bytes(*code), String::from_utf8(reason.to_vec()).unwrap())
            }
            other => panic!("a frame of type {other}"),
        })
    }
}

/// A masked frame.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame_head(0x80 | opcode, payload.len());
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// What stands before a masked payload of `len` bytes.
pub(crate) fn frame_head(first: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![first];
    match len {
        0..126 => bytes.push(0x80 | len as u8),
        126..0x1_0000 => {
            bytes.push(0xfe);
            bytes.extend((len as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0xff);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes
}

const MASK: [u8; 4] = [0x5a, 0x01, 0xff, 0x3c];

/// An update of client `client`: appends `text` to its run in the root type "t". `clock` is how many
/// characters it has there already.
pub(crate) fn typing(client: u64, clock: u64, text: &str) -> Vec<u8> {
    assert!(text.is_ascii(), "a character is a clock");
    let mut update = vec![1, 1];
    varint(&mut update, client);
    varint(&mut update, clock);
    if clock == 0 {
        // ContentString in the root type "t".
        update.extend([0x04, 0x01, 0x01, b't']);
    } else {
        // ContentString right of its own last character.
        update.push(0x84);
        varint(&mut update, client);
        varint(&mut update, clock - 1);
    }
    varint(&mut update, text.len() as u64);
    update.extend(text.bytes());
    update.push(0);
    update
}

pub(crate) fn varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

pub(crate) fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Waits until something has come about.
pub(crate) fn eventually(mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "it did not come about");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Two peers of a room of their own, who are to notice nothing of what happens elsewhere.
#[derive(Debug)]
pub(crate) struct Neighbours {
    ann: Peer,
    bob: Peer,
    said: u64,
}

impl Neighbours {
    pub(crate) fn of(addr: SocketAddr) -> Self {
        let [(ann, _), (bob, _)] = [(); 2].map(|()| Peer::join(addr, "next-door"));
        Self { ann, bob, said: 0 }
    }

    /// How long it takes one of them to hear the other.
    pub(crate) fn are_well(&mut self) -> Duration {
        let text = format!("<{}>", self.said);
        let began = Instant::now();
        self.ann.update(&typing(77 + self.said, 0, &text));
        self.bob.wait_for_content(&text);
        self.said += 1;
        began.elapsed()
    }
}
