//! The webhook: whom the program tells what happens in the rooms.

use crate::log::Log;
use crate::options::WebhookOptions;
use std::fs;
use std::sync::Arc;
use std::time::Duration;
use yroom::StoreOp;
use yroom_net::Running;
use yroom_net::store::{Reply, Store};
use yroom_webhook::{Delivery, Webhook};

/// So many rooms are named of which something was not told.
const NAMED: usize = 10;

/// A webhook that is not started yet, if there is one.
pub(crate) fn configured(options: &WebhookOptions) -> Result<Option<Webhook>, String> {
    let Some(url) = &options.webhook else { return Ok(None) };
    let webhook = Webhook::new(url).map_err(|why| format!("--webhook: {why}"))?;
    let mut webhook = webhook
        .topics(options.webhook_events.iter().copied())
        .objects(options.webhook_objects.iter().cloned())
        .max_bytes(options.webhook_max_bytes)
        .debounce(options.webhook_wait, options.webhook_max_wait)
        .timeout(options.webhook_timeout)
        .give_up_after(options.webhook_give_up_after);
    if let Some(file) = &options.webhook_secret {
        let name = file.display();
        let bytes = fs::read(file).map_err(|error| format!("{name}: {error}"))?;
        let secret = bytes.trim_ascii_end();
        if secret.is_empty() {
            return Err(format!("{name}: it holds no secret"));
        }
        webhook = webhook.secret(secret);
    }
    Ok(Some(webhook))
}

/// Starts it, on a server that runs with this store.
pub(crate) fn start(
    webhook: Webhook,
    running: &Running,
    store: &Arc<dyn Store>,
    log: &Arc<Log>,
) -> Result<Delivery, String> {
    let log = Arc::clone(log);
    webhook
        .store(Arc::clone(store))
        .observe(move |trouble| log.webhook(trouble))
        .start(running.rooms())
        .map_err(|error| format!("cannot start the webhook's threads: {error}"))
}

/// Tells the last things, once the server has ended; says what could not be told.
pub(crate) fn finish(delivery: Delivery, within: Duration) {
    let undelivered = delivery.finish(within);
    if undelivered.is_empty() {
        return;
    }
    let mut rooms: Vec<&str> =
        undelivered.rooms.iter().take(NAMED).map(yroom::RoomName::as_str).collect();
    if undelivered.rooms.len() > NAMED {
        rooms.push("…");
    }
    eprintln!(
        "yroom: the webhook was not told everything: {} notices, of {} rooms: {}",
        undelivered.notices,
        undelivered.rooms.len(),
        rooms.join(", ")
    );
}

/// A store that stays open when the server ends: what was not told yet is read from it.
pub(crate) struct KeptOpen(pub(crate) Arc<dyn Store>);

impl Store for KeptOpen {
    fn submit(&self, op: StoreOp, reply: Reply) {
        self.0.submit(op, reply);
    }

    /// Whoever has made it closes the store itself.
    fn close(&self) {}
}
