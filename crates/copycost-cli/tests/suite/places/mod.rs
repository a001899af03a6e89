//! The command in the places where people run it: control groups, network namespaces, machines with fewer CPUs than
//! the files say.

mod cgroups;
mod cpus;
mod links;
mod machines;
mod namespace;
mod zones;
