//! What the ranks say to each other, as JSON: orders by rank 0, answers by the others.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::membership::{Greeting, RankRole};
use crate::remote::ClientShares;
use crate::remote::order::ServiceOrder;
use copycost::internals::connection::ConnectionOptions;
use copycost::internals::cost::cpu::CpuSpent;
use copycost::internals::rig::RigInfo;
use copycost::recv;
use copycost::rig::{Sample, Work};
use copycost::scenario::Scenario;

/// What rank 0 says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Command {
    /// The first word: what the rank is to be.
    Welcome {
        /// Serve, or receive.
        role: RankRole,
        /// The secret of this job, in words.
        token: String,
        /// The network in which servers are reached, if that was said.
        network: Option<String>,
        /// The most clients of the job.
        most_clients: usize,
        /// How long an end may be silent.
        stall: Duration,
    },
    /// What does your clock show?
    Clock,
    /// Have this rig ready.
    SetUp(Box<RigOrder>),
    /// Do this with it.
    Run {
        /// Which rig.
        rig: u64,
        /// The number of the run in the job.
        run: u64,
        /// What.
        work: Work,
    },
    /// All receive: the window of the run opens after this lead.
    Open {
        run: u64,
        /// How long after this word.
        lead: Duration,
    },
    /// All windows are closed, or where there are none, all have received: the run is over.
    Over { run: u64 },
    /// Someone failed, and the run counts for nothing.
    CallOff { run: u64 },
    /// The rig is not needed any more.
    TakeDown {
        /// Which.
        rig: u64,
    },
    /// The job is done.
    Finish,
    /// A rank is lost, and the job with it: there is nobody to say goodbye to.
    Abandon,
}

/// What the others say.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// To the first word: who this is.
    Greeting(Box<Greeting>),
    /// Why this rank cannot take part.
    Unfit(String),
    /// What the rank's clock shows.
    Clock(Duration),
    /// The rig is ready.
    Ready {
        /// Which.
        rig: u64,
        /// What there is to know of it.
        set_up: Box<RigInfo>,
    },
    /// It cannot be had.
    NotReady {
        /// Which.
        rig: u64,
        /// Why.
        error: String,
    },
    /// All clients here receive.
    Receives { run: u64 },
    /// The window here is closed.
    Closed {
        run: u64,
        /// When, by the rank's clock.
        at: Duration,
    },
    /// What the run came to here.
    Done {
        run: u64,
        /// All that was measured.
        sample: Box<Sample>,
    },
    /// What the run cost this server's process.
    Served {
        run: u64,
        /// CPU time; `None` where the clock could not be read.
        process: Option<CpuSpent>,
    },
    /// To the last word: what this host has received, by its own books.
    Books {
        /// Bytes within windows.
        bytes: u64,
        /// How many windows.
        windows: u64,
    },
    /// The run failed here.
    Failed {
        run: u64,
        /// Why.
        error: String,
    },
}

/// A rig to be made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RigOrder {
    /// Its number in the job.
    pub rig: u64,
    /// What it measures, as a client orders it.
    pub order: ServiceOrder,
    /// How the clients receive.
    pub receive: String,
    /// How long an end may be silent.
    pub stall: Duration,
    /// Where the server of this host is reached.
    pub addresses: Vec<SocketAddr>,
    /// Which of all clients this host's are.
    pub shares: ClientShares,
}

impl RigOrder {
    /// The scenario as this host measures it.
    pub fn scenario(&self) -> Result<Scenario, String> {
        let receive = recv::ALL.iter().find(|receive| receive.name == self.receive);
        let receive = receive.ok_or_else(|| format!("there is no receive path '{}'", self.receive))?;
        let options =
            ConnectionOptions { stall_timeout: self.stall, ..ConnectionOptions::for_this_machine() };
        Ok(Scenario { receive, ..self.order.scenario(options)? })
    }
}
