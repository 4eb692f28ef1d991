//! Scenarios out of a seed: each draws which faults it has and how often ("swarm testing"), so that
//! no fault hides behind another.

use crate::op::{Attack, Edit, Fate, Identities, Op, Past, Present, Role, Scenario, Setup};
use crate::rng::Rng;
use std::collections::BTreeSet;
use yroom::{Absent, Durability};

/// The scenario of a seed.
pub fn scenario(seed: u64) -> Scenario {
    let mut rng = Rng::of(seed, 1);
    let size = Size::draw(&mut rng);
    let mut setup = setup(seed, size, &mut rng);
    employ(&mut setup, &mut Rng::of(seed, 4));
    narrow(&mut setup, &mut Rng::of(seed, 5));
    govern(&mut setup, &mut Rng::of(seed, 6));
    let swarm = Swarm::draw(&mut rng);
    let count = size.ops(&mut rng);
    let mut ops = (0..count).map(|_| swarm.op(&mut rng)).collect();
    delete(&mut ops, &mut Rng::of(seed, 7));
    impersonate(&mut setup, &mut ops, &mut Rng::of(seed, 8));
    Scenario { setup, ops }
}

#[derive(Clone, Copy)]
enum Size {
    Small,
    Medium,
    Large,
}

impl Size {
    fn draw(rng: &mut Rng) -> Self {
        match rng.below(100) {
            0 => Self::Large,
            1..10 => Self::Medium,
            _ => Self::Small,
        }
    }

    fn ops(self, rng: &mut Rng) -> u64 {
        match self {
            Self::Small => 10 + rng.below(50),
            Self::Medium => 80 + rng.below(120),
            Self::Large => 300 + rng.below(400),
        }
    }

    fn clients(self, rng: &mut Rng) -> u64 {
        match self {
            Self::Small => 1 + rng.below(4),
            Self::Medium => 3 + rng.below(5),
            Self::Large => 6 + rng.below(14),
        }
    }
}

fn setup(seed: u64, size: Size, rng: &mut Rng) -> Setup {
    let rooms = if rng.chance(600) { 1 } else { 2 + rng.below(2) as u8 };
    let hostile = rng.chance(350);
    let roles = |rng: &mut Rng| match rng.below(20) {
        0..2 => Role::Reader,
        2 => Role::Observer,
        3 => Role::Guest,
        4..6 if hostile => Role::Hostile,
        _ => Role::Writer,
    };
    let mut clients: Vec<(u8, Role)> =
        (0..size.clients(rng)).map(|_| (rng.below(u64::from(rooms)) as u8, roles(rng))).collect();
    clients.push((0, Role::Writer));
    Setup {
        seed,
        servers: if rng.chance(850) { 1 } else { 2 },
        rooms,
        clients,
        durability: match rng.below(10) {
            0..6 => Durability::BeforeFanout,
            6..8 => Durability::BeforeAck,
            _ => Durability::Eventual,
        },
        tail_bytes: [100, 400, 2_000, 64 << 10][rng.index(4)],
        outbox_bytes: [300, 2_000, 20_000, 1 << 20][rng.index(4)],
        slice_bytes: [150, 1_000, 512 << 10][rng.index(3)],
        unload_ms: [0, 100, 5_000, 30_000][rng.index(4)],
        turn_ms: [0, 0, 2, 20][rng.index(4)],
        ..Setup::default()
    }
}

/// Narrower bounds, in half of the seeds.
fn narrow(setup: &mut Setup, rng: &mut Rng) {
    if rng.chance(500) {
        setup.inbox_bytes = [100, 4_000][rng.index(2)];
        setup.state_bytes = [200, 2_000][rng.index(2)];
    }
}

/// Makes programs of ours of some writers, in half of the seeds.
fn employ(setup: &mut Setup, rng: &mut Rng) {
    if rng.chance(500) {
        return;
    }
    for (_, role) in &mut setup.clients {
        if *role == Role::Writer {
            *role = match rng.below(5) {
                0 | 1 => Role::Program,
                2 => Role::Keeper,
                _ => Role::Writer,
            };
        }
    }
}

/// What the application wants: whom it knows, what it keeps, how a room begins; and a relay in some
/// rooms.
fn govern(setup: &mut Setup, rng: &mut Rng) {
    setup.identities = match rng.below(10) {
        0..2 => Identities::Users,
        2..4 => Identities::Given,
        _ => Identities::Nobody,
    };
    setup.past = match rng.below(10) {
        0..2 => Past::All,
        2 => Past::Quiet(1_000 << rng.below(7)),
        3 => Past::Bytes(200 << rng.below(5)),
        4 => Past::Age(1_000 << rng.below(7)),
        5 => Past::Rows(1_000 << rng.below(7)),
        _ => Past::WhenItPays,
    };
    if rng.chance(250) {
        setup.absent = Absent::Initialise;
    }
    if rng.chance(200) {
        let mut rooms = BTreeSet::new();
        for (room, role) in &mut setup.clients {
            if *role == Role::Writer && rooms.insert(*room % setup.rooms) {
                *role = Role::Relay;
            }
        }
    }
}

/// Rooms are deleted, in some seeds.
fn delete(ops: &mut Vec<Op>, rng: &mut Rng) {
    if ops.is_empty() || !rng.chance(150) {
        return;
    }
    for _ in 0..=rng.below(3) {
        ops.insert(rng.index(ops.len()), Op::Delete { room: rng.below(4) as u8 });
    }
}

/// Where users are known, somebody tries to be another, in half of the seeds.
fn impersonate(setup: &mut Setup, ops: &mut Vec<Op>, rng: &mut Rng) {
    const KINDS: [Attack; 4] = [Attack::Spoof, Attack::Spoof, Attack::Forge, Attack::PresenceFlood];
    if setup.identities == Identities::Nobody || ops.is_empty() || rng.chance(500) {
        return;
    }
    let at = rng.index(setup.clients.len());
    setup.clients[at].1 = Role::Hostile;
    for _ in 0..4 + rng.below(8) {
        let (client, attack) = (at as u8, KINDS[rng.index(KINDS.len())]);
        let seed = rng.below(256) as u8;
        ops.insert(rng.index(ops.len()), Op::Attack { client, attack, seed });
        ops.insert(
            rng.index(ops.len()),
            Op::Presence { client: rng.below(64) as u8, present: Present::Here },
        );
    }
}

/// The faults of one seed, and its pace.
struct Swarm {
    weights: Vec<(u64, Kind)>,
    total: u64,
    pace: Pace,
}

#[derive(Clone, Copy)]
enum Pace {
    Fast,
    Mixed,
    Slow,
}

#[derive(Clone, Copy)]
enum Kind {
    Advance,
    Edit,
    Presence,
    Query,
    Status,
    Offline,
    Reload,
    Repeat,
    Pack,
    Lose,
    Reset,
    HalfOpen,
    SlowReader,
    SlowWriter,
    Latency,
    Attack,
    Crash,
    Freeze,
    Shutdown,
    Leap,
    StoreFate,
    StoreStall,
    StoreFull,
    StoreLatency,
    Damage,
}

const FAULTS: [Kind; 23] = [
    Kind::Presence,
    Kind::Query,
    Kind::Status,
    Kind::Offline,
    Kind::Reload,
    Kind::Repeat,
    Kind::Pack,
    Kind::Lose,
    Kind::Reset,
    Kind::HalfOpen,
    Kind::SlowReader,
    Kind::SlowWriter,
    Kind::Latency,
    Kind::Attack,
    Kind::Crash,
    Kind::Freeze,
    Kind::Shutdown,
    Kind::Leap,
    Kind::StoreFate,
    Kind::StoreStall,
    Kind::StoreFull,
    Kind::StoreLatency,
    Kind::Damage,
];

impl Swarm {
    fn draw(rng: &mut Rng) -> Self {
        let mut weights = vec![(400, Kind::Edit), (300, Kind::Advance)];
        for fault in FAULTS {
            if rng.chance(350) {
                weights.push((10 + rng.below(60), fault));
            }
        }
        let total = weights.iter().map(|(weight, _)| weight).sum();
        let pace = match rng.below(10) {
            0..5 => Pace::Fast,
            5..8 => Pace::Mixed,
            _ => Pace::Slow,
        };
        Self { weights, total, pace }
    }

    fn kind(&self, rng: &mut Rng) -> Kind {
        let mut at = rng.below(self.total);
        for (weight, kind) in &self.weights {
            if at < *weight {
                return *kind;
            }
            at -= weight;
        }
        Kind::Advance
    }

    fn span(&self, rng: &mut Rng) -> u32 {
        let most = match (self.pace, rng.below(20)) {
            (Pace::Fast, 0..18) => 60,
            (Pace::Fast, _) | (Pace::Mixed, 0..10) => 3_000,
            (Pace::Mixed, 10..19) => 40_000,
            (Pace::Slow, 0..15) => 100_000,
            (Pace::Mixed | Pace::Slow, 19) => 7_200_000,
            (Pace::Slow | Pace::Mixed, _) => 600_000,
        };
        rng.below(most) as u32
    }

    fn op(&self, rng: &mut Rng) -> Op {
        let kind = self.kind(rng);
        let client = rng.below(64) as u8;
        let server = rng.below(4) as u8;
        let ms = self.span(rng);
        match kind {
            Kind::Advance => Op::Advance { ms },
            Kind::Edit => Op::Edit { client, edit: edit(rng), amount: rng.below(24) as u8 },
            Kind::Presence => {
                let present = if rng.chance(850) { Present::Here } else { Present::Gone };
                Op::Presence { client, present }
            }
            Kind::Query => Op::Query { client },
            Kind::Status => Op::Status { client },
            Kind::Offline => {
                let days = rng.chance(30);
                Op::Offline { client, ms: if days { rng.below(300_000_000) as u32 } else { ms } }
            }
            Kind::Reload => Op::Reload { client },
            Kind::Repeat => Op::Repeat { client },
            Kind::Pack => Op::Pack { client, messages: 2 + rng.below(4) as u8 },
            Kind::Lose => Op::Lose { client },
            Kind::Reset => Op::Reset {
                client,
                server_hears: rng.below(60_000) as u32 >> rng.below(16),
                client_hears: rng.below(40_000) as u32 >> rng.below(16),
            },
            Kind::HalfOpen => Op::HalfOpen { client },
            Kind::SlowReader => {
                Op::SlowReader { client, ms: rng.below(120_000) as u32 >> rng.below(8) }
            }
            Kind::SlowWriter => {
                Op::SlowWriter { client, ms: rng.below(60_000) as u32 >> rng.below(8) }
            }
            Kind::Latency => Op::Latency { client, ms: rng.below(500) as u16 },
            Kind::Attack => Op::Attack { client, attack: attack(rng), seed: rng.below(256) as u8 },
            Kind::Crash => Op::Crash {
                server,
                outputs: rng.below(24) as u8 >> rng.below(4),
                down: rng.below(20_000) as u32 >> rng.below(8),
            },
            Kind::Freeze => Op::Freeze { server, ms: rng.below(120_000) as u32 >> rng.below(8) },
            Kind::Shutdown => Op::Shutdown { server, down: rng.below(5_000) as u32 },
            Kind::Leap => Op::Leap { server, ms: rng.below(3_600_000) as u32 >> rng.below(10) },
            Kind::StoreFate => {
                Op::StoreFate { server, fate: fate(rng), times: 1 + rng.below(6) as u8 }
            }
            Kind::StoreStall => {
                Op::StoreStall { server, ms: rng.below(90_000) as u32 >> rng.below(8) }
            }
            Kind::StoreFull => {
                Op::StoreFull { server, ms: rng.below(90_000) as u32 >> rng.below(6) }
            }
            Kind::StoreLatency => {
                Op::StoreLatency { server, ms: rng.below(5_000) as u16 >> rng.below(6) }
            }
            Kind::Damage => Op::Damage { room: rng.below(4) as u8, at: rng.below(1 << 16) as u16 },
        }
    }
}

fn edit(rng: &mut Rng) -> Edit {
    match rng.below(100) {
        0..40 => Edit::TypeOn,
        40..55 => Edit::Type,
        55..73 => Edit::Delete,
        73..76 => Edit::Paste,
        76..84 => Edit::Set,
        84..87 => Edit::Unset,
        87..92 => Edit::Nest,
        92..97 => Edit::NestSet,
        _ => Edit::NestDrop,
    }
}

fn attack(rng: &mut Rng) -> Attack {
    const ALL: [Attack; 14] = [
        Attack::Noise,
        Attack::Cut,
        Attack::Mangle,
        Attack::Bomb,
        Attack::Gap,
        Attack::Spoof,
        Attack::Evict,
        Attack::Forge,
        Attack::AskFlood,
        Attack::PresenceFlood,
        Attack::Stale,
        Attack::Unknown,
        Attack::Trespass,
        Attack::Vandalise,
    ];
    ALL[rng.index(ALL.len())]
}

fn fate(rng: &mut Rng) -> Fate {
    [Fate::NotDone, Fate::DoneUnknown, Fate::NotDoneUnknown, Fate::Slow][rng.index(4)]
}

/// Any bytes as a scenario, for fuzzers: whatever would be drawn is read.
pub fn from_bytes(bytes: &[u8]) -> Scenario {
    let mut rng = Rng::from_bytes(bytes);
    let seed = rng.below(1 << 16);
    let mut setup = setup(seed, Size::Small, &mut rng);
    employ(&mut setup, &mut rng);
    narrow(&mut setup, &mut rng);
    govern(&mut setup, &mut rng);
    let mut weights = vec![(40, Kind::Edit), (30, Kind::Advance)];
    weights.extend(FAULTS.map(|fault| (8, fault)));
    let total = weights.iter().map(|(weight, _)| weight).sum();
    let swarm = Swarm { weights, total, pace: Pace::Mixed };
    let mut ops = Vec::new();
    while !rng.is_spent() && ops.len() < 200 {
        ops.push(swarm.op(&mut rng));
    }
    delete(&mut ops, &mut rng);
    impersonate(&mut setup, &mut ops, &mut rng);
    Scenario { setup, ops }
}
