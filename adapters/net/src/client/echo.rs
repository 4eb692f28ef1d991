//! The provider's end of a WebSocket as an echo, for the conformance tests.

use super::dial::Failure;
use super::socket::{Broken, Incoming, Socket};
use crate::link::Duplex;
use async_tungstenite::tungstenite::handshake::client::Request;
use bytes::Bytes;
use std::future::poll_fn;
use std::task::{Context, Poll};
use yroom::Limits;

/// Sends back what comes, until the end; gives what came last.
pub(crate) async fn echo(
    stream: Box<dyn Duplex>,
    request: Request,
    limits: &Limits,
) -> Result<Bytes, Failure> {
    let refused = |error| Failure::transient("the WebSocket handshake", error);
    let mut socket = Socket::open(stream, request, limits).await.map_err(refused)?;
    let mut last = Bytes::new();
    while let Some(incoming) = poll_fn(|cx| next(&mut socket, cx)).await {
        let fed = match incoming {
            Incoming::Frame(frame) => socket.feed(frame),
            Incoming::Text(text) => {
                last = text;
                socket.feed_text(&last)
            }
            Incoming::Control => Ok(()),
            Incoming::Gone => break,
            Incoming::Breach(code, reason) => {
                socket.close(code, &reason);
                poll_fn(|cx| socket.poll_closed(cx)).await;
                break;
            }
        };
        if fed.is_err() {
            break;
        }
    }
    Ok(last)
}

/// Writes and reads, as the driver does.
fn next(socket: &mut Socket, cx: &mut Context<'_>) -> Poll<Option<Incoming>> {
    match socket.poll_flush(cx) {
        // What came before may say why.
        Poll::Ready(Ok(_) | Err(Broken)) | Poll::Pending => socket.poll_read(cx).map(Some),
    }
}
