//! MPI as the link between the ranks; the only file that names the crate `mpi`.
//!
//! Everything here returns at once. A send is buffered (`MPI_Bsend`: done when the message is copied), and a receive
//! takes a piece that a probe has found (`MPI_Improbe`, then `MPI_Mrecv`), small enough to have arrived as a whole.
//! Nothing is collective but the beginning and the end.

use std::cell::RefCell;
use std::collections::HashMap;
use std::env;
use std::fmt;

use mpi::environment::Universe;
use mpi::point_to_point::{Destination as _, Source as _};
use mpi::topology::Communicator as _;
use mpi::traits::Equivalence as _;

use super::link::{Assembly, RankLink, pieces};

/// Bytes that may have been sent and not yet been taken over by the library: a message of rank 0 is a few hundred
/// bytes, and the largest of another rank, with the histograms of a run, is below a tenth of this.
const BUFFER: usize = 8 << 20;

/// What a launcher tells the processes that it starts, one of them at least: Open MPI, PMIx, MPICH and its kin, Slurm.
const LAUNCHED: [&str; 4] = ["OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_SIZE"];

thread_local! {
    /// MPI is used by the thread that has begun it and by no other.
    static JOB: RefCell<Option<MpiWorld>> = const { RefCell::new(None) };
}

struct MpiWorld {
    universe: Universe,
    unfinished: HashMap<usize, Assembly>,
}

/// This process's place in an MPI job.
#[derive(Clone, Copy)]
pub struct Mpi {
    rank: usize,
    size: usize,
}

impl fmt::Debug for Mpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mpi({} of {})", self.rank, self.size)
    }
}

/// Whether a launcher has started this process as part of a job.
pub fn launched() -> bool {
    LAUNCHED.iter().any(|name| env::var_os(name).is_some())
}

impl Mpi {
    /// Joins the job. `None` where MPI does not begin: it says why itself.
    pub fn join() -> Option<Self> {
        let mut universe = mpi::initialize()?;
        universe.set_buffer_size(BUFFER);
        let world = universe.world();
        let place = |number: mpi::Rank| usize::try_from(number).unwrap_or_default();
        let (rank, size) = (place(world.rank()), place(world.size()));
        JOB.set(Some(MpiWorld { universe, unfinished: HashMap::new() }));
        Some(Self { rank, size })
    }

    /// Leaves the job; every rank must.
    pub fn leave(self) {
        drop(JOB.take());
    }

    /// Ends all ranks.
    pub fn abort(self, code: i32) -> ! {
        JOB.with_borrow(|job| {
            if let Some(job) = job {
                job.universe.world().abort(code);
            }
        });
        std::process::exit(code)
    }
}

impl RankLink for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn send(&self, to: usize, bytes: &[u8]) {
        JOB.with_borrow(|job| {
            let (Some(job), Ok(to)) = (job, mpi::Rank::try_from(to)) else { return };
            let world = job.universe.world();
            let process = world.process_at_rank(to);
            pieces(bytes).iter().for_each(|piece| process.buffered_send(&piece[..]));
        });
    }

    fn poll(&self) -> Option<(usize, Vec<u8>)> {
        JOB.with_borrow_mut(|job| {
            let job = job.as_mut()?;
            let world = job.universe.world();
            loop {
                let (message, status) = world.any_process().immediate_matched_probe()?;
                let length = usize::try_from(status.count(u8::equivalent_datatype())).unwrap_or_default();
                let mut piece = vec![0u8; length];
                message.matched_receive_into(&mut piece[..]);
                let from = usize::try_from(status.source_rank()).unwrap_or_default();
                if let Some(whole) = job.unfinished.entry(from).or_default().add(&piece) {
                    return Some((from, whole));
                }
            }
        })
    }
}
