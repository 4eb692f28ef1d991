//! Whom the program tells what happens.

use super::units::{bytes, pause};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;
use yroom_webhook::{Object, Topic};

/// Posts to a URL what happens in the rooms.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Webhook")]
pub(crate) struct WebhookOptions {
    /// Posts JSON to this URL (http:// or https://) when something happens in a room.
    #[arg(long, env = "YROOM_WEBHOOK", value_name = "URL")]
    pub(crate) webhook: Option<String>,

    /// What is told: change, open, close, delete, join, leave.
    #[arg(
        long,
        env = "YROOM_WEBHOOK_EVENTS",
        value_name = "EVENT,…",
        value_delimiter = ',',
        default_value = "change",
        requires = "webhook"
    )]
    pub(crate) webhook_events: Vec<Topic>,

    /// Tells a change with the content of these root types: name:Text, :Array, :Map or :XmlFragment.
    #[arg(
        long,
        env = "YROOM_WEBHOOK_OBJECTS",
        value_name = "NAME:TYPE,…",
        value_delimiter = ',',
        requires = "webhook"
    )]
    pub(crate) webhook_objects: Vec<Object>,

    /// The largest document whose content is told, and the largest JSON made of it.
    #[arg(
        long,
        env = "YROOM_WEBHOOK_MAX_BYTES",
        value_name = "SIZE",
        default_value = "16MiB",
        value_parser = bytes
    )]
    pub(crate) webhook_max_bytes: usize,

    /// Signs each body with the secret in this file: X-Yroom-Signature-256 is "sha256=" and the
    /// HMAC-SHA256 in hexadecimal digits.
    #[arg(long, env = "YROOM_WEBHOOK_SECRET", value_name = "FILE", requires = "webhook")]
    pub(crate) webhook_secret: Option<PathBuf>,

    /// A change is told when there was none for so long: a number and ms, s or m.
    #[arg(
        long,
        env = "YROOM_WEBHOOK_WAIT",
        value_name = "SPAN",
        default_value = "2s",
        value_parser = pause
    )]
    pub(crate) webhook_wait: Duration,

    /// The longest that a change waits for others.
    #[arg(
        long,
        env = "YROOM_WEBHOOK_MAX_WAIT",
        value_name = "SPAN",
        default_value = "10s",
        value_parser = pause
    )]
    pub(crate) webhook_max_wait: Duration,

    /// How long the receiver may take for an answer.
    #[arg(
        long,
        env = "YROOM_WEBHOOK_TIMEOUT",
        value_name = "SPAN",
        default_value = "5s",
        value_parser = pause
    )]
    pub(crate) webhook_timeout: Duration,

    /// How long a notice is tried when the receiver fails.
    #[arg(
        long,
        env = "YROOM_WEBHOOK_GIVE_UP_AFTER",
        value_name = "SPAN",
        default_value = "5m",
        value_parser = pause
    )]
    pub(crate) webhook_give_up_after: Duration,
}
