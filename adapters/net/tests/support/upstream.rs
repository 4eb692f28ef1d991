//! An upstream server on blocking sockets: what it does with a link is exactly what a test says.

use crate::support::{self, PATIENCE, STEP1};
use data_encoding::BASE64;
use sha1::{Digest, Sha1};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// An upstream server that does what a test says with each link in turn.
pub(crate) struct Fake {
    pub(crate) addr: SocketAddr,
    counts: Arc<[AtomicUsize; 2]>,
}

impl Fake {
    pub(crate) fn start(serve: impl Fn(FakePeer, usize) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let counts = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let counted = Arc::clone(&counts);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let count = counted[0].fetch_add(1, Ordering::SeqCst);
                serve(FakePeer::accept(stream), count);
                counted[1].fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { addr, counts }
    }

    /// How many links were made.
    pub(crate) fn came(&self) -> usize {
        self.counts[0].load(Ordering::SeqCst)
    }

    /// How many of them went as the test says.
    pub(crate) fn over(&self) -> usize {
        self.counts[1].load(Ordering::SeqCst)
    }
}

/// The upstream end of a link.
pub(crate) struct FakePeer {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl FakePeer {
    fn accept(mut stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let key = head
            .lines()
            .find(|line| line.to_ascii_lowercase().starts_with("sec-websocket-key"))
            .and_then(|line| line.split_once(": "))
            .unwrap()
            .1;
        let hash = Sha1::digest(format!("{}258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key.trim()));
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            BASE64.encode(&hash)
        );
        // The question comes with the answer, as real servers send it.
        let mut bytes = answer.into_bytes();
        bytes.extend([0x82, STEP1.len() as u8]);
        bytes.extend(STEP1);
        stream.write_all(&bytes).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(crate) fn send_server(&mut self, message: &[u8]) {
        self.send_raw(&[&[0x82, message.len() as u8], message].concat());
    }

    pub(crate) fn send_close(&mut self, code: u16) {
        let [high, low] = code.to_be_bytes();
        self.send_raw(&[0x88, 2, high, low]);
        self.wait_for_close();
    }

    pub(crate) fn wait_for_content(&mut self, content: &str) {
        loop {
            match self.next() {
                Some((support::BINARY, payload)) => {
                    if support::contains(&payload, content.as_bytes()) {
                        return;
                    }
                }
                Some(_) => {}
                None => panic!("it ended before {content:?}"),
            }
        }
    }

    pub(crate) fn wait_for_close(&mut self) -> (u16, String) {
        loop {
            match self.next() {
                Some((support::CLOSE, payload)) => {
                    let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                    let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default());
                    return (code, reason.into_owned());
                }
                Some(_) => {}
                None => panic!("it ended without a close frame"),
            }
        }
    }

    /// The next frame, which has to be masked.
    fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some(found) = self.parse() {
                return Some(found);
            }
            let mut chunk = [0; 8 << 10];
            match self.stream.read(&mut chunk) {
                Ok(read @ 1..) => self.buffer.extend_from_slice(&chunk[..read]),
                Ok(0) | Err(_) => return None,
            }
        }
    }

    fn parse(&mut self) -> Option<(u8, Vec<u8>)> {
        let bytes = &self.buffer;
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        assert!(second & 0x80 != 0, "a client's frames are masked");
        let (len, start) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap())), 4),
            127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()), 10),
            len => (u64::from(len), 2),
        };
        let mask: [u8; 4] = bytes.get(start..start + 4)?.try_into().unwrap();
        let end = start + 4 + usize::try_from(len).unwrap();
        let payload = bytes.get(start + 4..end)?;
        let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
        let found = (first & 0x0f, payload.collect());
        self.buffer.drain(..end);
        Some(found)
    }
}
