//! MPI as the link between the ranks; the only file that uses the crate `mpi`.
//!
//! No call blocks. A send is buffered (`MPI_Bsend` returns when the message is copied). A receive takes a piece that a
//! probe has found (`MPI_Improbe`, then `MPI_Mrecv`), and a piece is small enough to have arrived as a whole. Only
//! joining and leaving the job are collective.

use std::cell::RefCell;
use std::collections::HashMap;
use std::env;
use std::fmt;

use mpi::environment::Universe;
use mpi::point_to_point::{Destination as _, Source as _};
use mpi::topology::Communicator as _;
use mpi::traits::Equivalence as _;

use super::link::{Assembly, RankLink, pieces};

/// Bytes of buffered messages that the MPI library has not sent yet. A message of rank 0 takes a few hundred bytes. The
/// largest message of another rank holds the histograms of a run and takes less than a tenth of this.
const BUFFER: usize = 8 << 20;

/// Environment variables of launchers; each launcher sets at least one: Open MPI, PMIx, MPICH and its derivatives,
/// Slurm.
const LAUNCHED: [&str; 4] = ["OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_SIZE"];

thread_local! {
    /// Only the thread that initialised MPI may use it.
    static JOB: RefCell<Option<MpiWorld>> = const { RefCell::new(None) };
}

struct MpiWorld {
    universe: Universe,
    unfinished: HashMap<usize, Assembly>,
}

/// This process as a rank of an MPI job.
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
    /// Joins the job. `None` if MPI cannot be initialised; MPI prints the reason.
    pub fn join() -> Option<Self> {
        let mut universe = mpi::initialize()?;
        universe.set_buffer_size(BUFFER);
        let world = universe.world();
        let count = |number: mpi::Rank| usize::try_from(number).unwrap_or_default();
        let (rank, size) = (count(world.rank()), count(world.size()));
        JOB.set(Some(MpiWorld { universe, unfinished: HashMap::new() }));
        Some(Self { rank, size })
    }

    /// Finalises MPI. Collective: every rank must call it.
    pub fn leave(self) {
        drop(JOB.take());
    }

    /// Ends all ranks with this exit code.
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
