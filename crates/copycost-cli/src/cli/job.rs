//! `--over mpi`: this process is one rank of a job.

use std::fmt;
use std::sync::Arc;

use super::{Done, Failure};
use crate::conditions::RankConditions;
use copycost::rig::Site;

/// A job as rank 0 sees it while it measures.
pub trait Job: fmt::Debug {
    /// The number of hosts that can receive.
    fn client_hosts(&self) -> usize;

    /// A site whose clients are on the first `hosts` client hosts.
    fn site(&self, hosts: usize) -> Arc<dyn Site>;

    /// The conditions of every rank.
    fn conditions(&self) -> Vec<RankConditions>;

    /// What distorts a measurement in this job, one sentence each.
    fn remarks(&self) -> Vec<String>;

    /// Ends the job for all ranks, given the result of this rank.
    fn end(self: Box<Self>, result: Result<Done, Failure>) -> Result<Done, Failure>;
}

/// The role of this process in a job.
#[derive(Debug)]
#[cfg_attr(not(feature = "mpi"), expect(dead_code, reason = "without MPI there is one process"))]
pub enum ProcessRole {
    /// There is no job.
    Alone,
    /// This process is rank 0 and directs the job.
    Directs(Box<dyn Job>),
    /// This process was another rank, and the job is done.
    Followed,
}

#[cfg(feature = "mpi")]
pub use with_mpi::join;

/// Joins the job that a launcher has started. On ranks other than 0 this returns when the job is done.
#[cfg(not(feature = "mpi"))]
pub fn join(
    _: usize,
    _: Option<crate::remote::IpNetwork>,
    _: usize,
    _: copycost::internals::connection::ConnectionOptions,
) -> Result<ProcessRole, Failure> {
    Err(Failure::Usage(
        "--over mpi needs a build with MPI: run `cargo install copycost-cli --features mpi` (on Debian, \
         first run `apt-get install openmpi-bin libopenmpi-dev libclang-dev`)"
            .to_owned(),
    ))
}

#[cfg(feature = "mpi")]
mod with_mpi {
    use super::super::{output, signals};
    use super::*;
    use crate::many::mpi::{self, Mpi};
    use crate::many::{Director, HostReceived, JobConfig, JobEnd, RankLink as _, follow};
    use crate::remote::IpNetwork;
    use copycost::scenario::ConnectionOptions;

    /// The usage line of error messages.
    const COMMAND: &str = "mpirun -n 4 --hostfile HOSTS --map-by node --bind-to none copycost run --over mpi \
        (one process per host: the first serves, the others receive)";

    /// The job that rank 0 directs.
    #[derive(Debug)]
    struct MpiJob {
        director: Arc<Director>,
        mpi: Mpi,
    }

    /// Joins the job that a launcher has started. On ranks other than 0 this returns when the job is done.
    pub fn join(
        servers: usize,
        network: Option<IpNetwork>,
        most_clients: usize,
        options: ConnectionOptions,
    ) -> Result<ProcessRole, Failure> {
        if !mpi::launched() {
            return Err(Failure::Usage(format!("--over mpi needs a launcher: {COMMAND}")));
        }
        let mpi = Mpi::join().ok_or_else(|| Failure::Failed("MPI could not be started".to_owned()))?;
        let (rank, size) = (mpi.rank(), mpi.size());
        if size <= servers {
            mpi.leave();
            // Rank 0 alone prints the error.
            if rank > 0 {
                return Ok(ProcessRole::Followed);
            }
            return Err(Failure::Usage(format!(
                "--over mpi with --servers {servers} needs at least {} processes, but this job has {size}: \
                 {COMMAND}",
                servers + 1
            )));
        }
        if rank > 0 {
            return match follow(&mpi) {
                Ok(JobEnd::Done) => {
                    mpi.leave();
                    Ok(ProcessRole::Followed)
                }
                Ok(JobEnd::Abandoned) => mpi.abort(1),
                Err(why) => give_up(mpi, &format!("rank {rank}: {why}")),
            };
        }
        let config =
            JobConfig { servers, network, most_clients, options, called_off: || signals::caught().is_some() };
        match Director::start(Arc::new(mpi), config) {
            Ok(director) => Ok(ProcessRole::Directs(Box::new(MpiJob { director, mpi }))),
            Err(why) => give_up(mpi, &why),
        }
    }

    fn give_up(mpi: Mpi, why: &str) -> ! {
        output::message(&format!("error: {why}"));
        mpi.abort(1)
    }

    impl Job for MpiJob {
        fn client_hosts(&self) -> usize {
            self.director.client_hosts()
        }

        fn site(&self, hosts: usize) -> Arc<dyn Site> {
            self.director.with(hosts)
        }

        fn conditions(&self) -> Vec<RankConditions> {
            self.director.conditions()
        }

        fn remarks(&self) -> Vec<String> {
            self.director.remarks()
        }

        fn end(self: Box<Self>, result: Result<Done, Failure>) -> Result<Done, Failure> {
            if let Some(why) = self.director.lost() {
                let message = result.err().map_or(why, |failure| failure.to_string());
                output::message(&format!("error: {message}"));
                self.director.abandon();
                self.mpi.abort(1);
            }
            print_received(&self.director.finish());
            self.mpi.leave();
            result
        }
    }

    /// Prints what each host received, so that the user can check the sums in the results.
    fn print_received(received: &[HostReceived]) {
        /// The most hosts that are printed.
        const MOST: usize = 8;
        // Loads that do not wait have no windows.
        let with_windows = received.iter().filter(|host| host.counted.1 > 0);
        for HostReceived { host, counted: own, .. } in with_windows.take(MOST) {
            output::message(&format!(
                "note: by its own count {host} received {} bytes in {} windows",
                own.0, own.1
            ));
        }
        for HostReceived { host, counted: own, collected: gathered } in
            received.iter().filter(|host| host.counted != host.collected)
        {
            output::message(&format!(
                "warning: {host} received {} bytes in {} windows by its own count, but {} in {} are in the \
                 results: a path failed, or the run was interrupted",
                own.0, own.1, gathered.0, gathered.1
            ));
        }
    }
}
