//! Rooms in an axum application: its routes, its sockets, its say in who comes in; kept in SQLite.
//! `cargo run -p yroom-examples --bin in_axum 127.0.0.1:3000 notes-data`, and in a page:
//! `new WebsocketProvider('ws://127.0.0.1:3000/rooms', 'minutes', doc, { params: { token: 'writer' } })`

use axum::extract::{Path, Query, Request, State};
use axum::serve::ListenerExt;
use axum::{Router, http::StatusCode, http::header, response::IntoResponse, routing::get};
use hyper_util::rt::TokioIo;
use std::{collections::BTreeMap, env, sync::Arc};
use tokio_util::compat::TokioAsyncReadCompatExt;
use yroom::{Access, Config, RoomName};
use yroom_net::{Entrance, Server, app, runtime::Tokio, store::Threaded};
use yroom_sqlite::SqliteStore;
use yrs::{Text, WriteTxn};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let addr = env::args().nth(1).unwrap_or("127.0.0.1:3000".to_owned());
    let dir = env::args().nth(2).unwrap_or("notes-data".to_owned());
    let store = Arc::new(Threaded::new(SqliteStore::open(dir.as_ref())?)?);
    let rooms = Server::<Tokio>::new(Config::default()).store(store).initialise(first).start()?;
    let app = Router::new()
        .route("/", get(async || "an application with rooms"))
        .route("/rooms/{room}", get(join).with_state(rooms.entrance()));
    let listener = tokio::net::TcpListener::bind(addr).await?;
    println!("listening on {}", listener.local_addr()?);
    // A socket that cannot be told anything is gone, as its reader will find.
    let listener = listener.tap_io(|socket| _ = yroom_net::runtime::tune(socket));
    tokio::select! { end = axum::serve(listener, app) => end?, end = tokio::signal::ctrl_c() => end? }
    let farewell = tokio::task::spawn_blocking(|| rooms.shutdown()).await?;
    assert!(farewell.is_clean(), "not everything is stored: {farewell:?}");
    Ok(())
}

/// What a room has in it that was never stored: a heading. Called once for it.
async fn first(room: RoomName) -> app::FirstContent {
    let heading = format!("# {room}\n");
    Ok(Some(app::seed(&room, |txn| txn.get_or_insert_text("text").push(txn, &heading))?))
}

/// Lets in who has a token, as what the token says.
async fn join(
    State(entrance): State<Entrance>,
    Path(room): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
    mut request: Request,
) -> Result<impl IntoResponse, (StatusCode, String)> {
    let access = match query.get("token").map(String::as_str) {
        Some("writer") => Access::FULL,
        Some("reader") => Access::READ_ONLY,
        Some(_) | None => return Err((StatusCode::UNAUTHORIZED, "who are you?".to_owned())),
    };
    let bad = |why: &dyn ToString| (StatusCode::BAD_REQUEST, why.to_string());
    let room = RoomName::new(&room).map_err(|why| bad(&why))?;
    let key = yroom_net::handshake(request.headers()).map_err(|why| bad(&why.sentence()))?;
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(socket) = upgrade.await else { return };
        entrance.serve_upgraded(TokioIo::new(socket).compat(), Vec::new(), room, access);
    });
    let upgrade = [(header::UPGRADE, "websocket"), (header::CONNECTION, "Upgrade")];
    Ok((StatusCode::SWITCHING_PROTOCOLS, upgrade, [(header::SEC_WEBSOCKET_ACCEPT, key)]))
}
