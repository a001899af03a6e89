//! x
fn main() {
    use copycost::*;
    let name = std::env::args().nth(1).unwrap();
    let size: usize = std::env::args().nth(2).unwrap().parse().unwrap();
    let clients: usize = std::env::args().nth(3).unwrap().parse().unwrap();
    let s =
        scenario::Scenario::new(send::by_name(&name).unwrap(), message::Spec::new(size).unwrap(), clients);
    let mut rig = rig::Rig::build(&s).unwrap();
    for _ in 0..3 {
        let x = rig.run(rig::Work::Window(std::time::Duration::from_millis(300))).unwrap();
        println!(
            "W {} sw/m {:.3} calls/m {:.2} user {:?} sys {:?} ledger {:?} {:?} drain {:?}",
            units::Rate(x.throughput()),
            x.switches_per_message(),
            x.calls as f64 / x.messages as f64,
            x.sender.user,
            x.sender.system,
            x.ledger.copied_share(),
            x.ledger.notification_quantiles(),
            x.drain
        );
        let x = rig.run(rig::Work::Rounds(10000)).unwrap();
        println!("R {} drain {:?}", units::Rate(x.throughput()), x.drain);
        let x = rig.run(rig::Work::Single(1000)).unwrap();
        println!("S {:?} drain {:?}", x.latency.quantile(0.5), x.drain);
    }
}
