//! Rooms beside what a plain hyper server serves: `/rooms/<room>` becomes a WebSocket, all else is
//! the application's.
//!
//! ```sh
//! cargo run -p yroom-examples --bin in_hyper 127.0.0.1:3000
//! ```

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use hyper::{Request, Response, StatusCode, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::error::Error;
use tokio::net::TcpListener;
use tokio_util::compat::TokioAsyncReadCompatExt;
use yroom::{Access, Config, RoomName};
use yroom_net::{Entrance, Server, runtime::Tokio};

type Answer = Response<Full<Bytes>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:3000".to_owned());
    let rooms = Server::<Tokio>::new(Config::default()).start()?;
    let listener = TcpListener::bind(addr).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        // A socket that cannot be told anything is gone, as its reader will find.
        let _ = yroom_net::runtime::tune(&socket);
        let entrance = rooms.entrance();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let entrance = entrance.clone();
                async move { Ok::<_, Infallible>(answer(request, &entrance)) }
            });
            let serving = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
            // A client that goes away in the middle of a request is no news.
            let _ = serving.with_upgrades().await;
        });
    }
}

fn answer(mut request: Request<Incoming>, entrance: &Entrance) -> Answer {
    let Some(room) = request.uri().path().strip_prefix("/rooms/").map(RoomName::new) else {
        return words(StatusCode::OK, "an application with rooms");
    };
    let room = match room {
        Ok(room) => room,
        Err(why) => return words(StatusCode::BAD_REQUEST, &why.to_string()),
    };
    let key = match yroom_net::handshake(request.headers()) {
        Ok(key) => key,
        Err(refusal) => {
            let status = StatusCode::from_u16(refusal.status()).expect("a status of HTTP");
            return words(status, refusal.sentence());
        }
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let entrance = entrance.clone();
    tokio::spawn(async move {
        if let Ok(socket) = upgrade.await {
            let socket = TokioIo::new(socket).compat();
            entrance.serve_upgraded(socket, Vec::new(), room, Access::FULL);
        }
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(UPGRADE, "websocket")
        .header(CONNECTION, "Upgrade")
        .header(SEC_WEBSOCKET_ACCEPT, key)
        .body(Full::default())
        .expect("these are headers")
}

fn words(status: StatusCode, words: &str) -> Answer {
    let mut answer = Response::new(Full::from(format!("{words}\n")));
    *answer.status_mut() = status;
    answer
}
