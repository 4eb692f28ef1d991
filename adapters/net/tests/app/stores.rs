//! Stores that do what a test says.

use std::sync::{Arc, Mutex};
use yroom::{StoreFault, StoreFaultKind, StoreOp};
use yroom_net::store::{MemoryStore, Reply, Store};

/// A memory store that outlives its server and is told what to do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) inner: Arc<MemoryStore>,
    orders: Arc<Mutex<Orders>>,
}

#[derive(Debug, Default)]
struct Orders {
    fail_loads: usize,
    appends: Appends,
    held: Vec<(StoreOp, Reply)>,
    hold_loads: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Appends {
    #[default]
    Take,
    Fail,
    /// Neither taken nor answered.
    Ignore,
}

impl Told {
    /// One with the same rooms, that nothing was told yet.
    pub(crate) fn another(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), orders: Arc::default() }
    }

    pub(crate) fn fail_loads(&self, count: usize) {
        self.orders.lock().unwrap().fail_loads = count;
    }

    pub(crate) fn appends(&self, appends: Appends) {
        self.orders.lock().unwrap().appends = appends;
    }

    pub(crate) fn hold_loads(&self) {
        self.orders.lock().unwrap().hold_loads = true;
    }

    pub(crate) fn let_go(&self) {
        let held = {
            let mut orders = self.orders.lock().unwrap();
            orders.hold_loads = false;
            std::mem::take(&mut orders.held)
        };
        for (op, reply) in held {
            self.inner.submit(op, reply);
        }
    }
}

impl Store for Told {
    fn submit(&self, op: StoreOp, reply: Reply) {
        let mut orders = self.orders.lock().unwrap();
        match op {
            StoreOp::Load { .. } if orders.fail_loads > 0 => {
                orders.fail_loads -= 1;
                reply.failed(StoreFault::new(StoreFaultKind::NotDone, "told to fail"));
            }
            StoreOp::Load { .. } if orders.hold_loads => orders.held.push((op, reply)),
            StoreOp::Append(_) => match orders.appends {
                Appends::Take => self.inner.submit(op, reply),
                Appends::Fail => {
                    reply.failed(StoreFault::new(StoreFaultKind::NotDone, "told to fail"));
                }
                Appends::Ignore => orders.held.push((op, reply)),
            },
            op => self.inner.submit(op, reply),
        }
    }

    /// Stays open for the next server.
    fn close(&self) {}
}
