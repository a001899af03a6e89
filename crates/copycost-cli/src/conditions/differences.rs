//! The differences between the conditions of two runs of the same measurement.

use super::Conditions;

/// The name of a condition that every version has recorded, and the function that reads it.
type ConditionField = (&'static str, fn(&Conditions) -> String);

const ALWAYS: [ConditionField; 7] = [
    ("kernel", |c| c.kernel.clone()),
    ("CPU", |c| c.cpu_model.clone()),
    ("CPUs", |c| c.cpus.to_string()),
    ("congestion control", |c| c.congestion_control.clone()),
    ("SO_SNDBUF", |c| c.send_buffer_bytes.to_string()),
    ("SO_RCVBUF", |c| c.receive_buffer_bytes.to_string()),
    ("TCP_NODELAY", |c| c.nodelay.to_string()),
];

/// The first entries of [`ALWAYS`]: those that are known before there is a connection.
const BEFORE_CONNECTING: usize = 3;

impl Conditions {
    /// The differences from an earlier run, each as `name: … there, … here`. A condition that one of the two runs did
    /// not record is skipped.
    pub fn differences(&self, before: &Self) -> Vec<String> {
        self.differing(before, ALWAYS.len())
    }

    /// Like [`Self::differences`], without the conditions of connections: for use before anything is measured.
    pub fn differences_so_far(&self, before: &Self) -> Vec<String> {
        self.differing(before, BEFORE_CONNECTING)
    }

    /// The differences that a user can set back: those of the interface and of the system settings. If these differ, a
    /// changed result says nothing about the send paths, whereas another kernel or machine may be the very subject of
    /// the comparison.
    pub fn differences_of_settings(&self, before: &Self) -> Vec<String> {
        self.differing(before, 0)
    }

    fn differing(&self, before: &Self, always: usize) -> Vec<String> {
        let mut differing = Differing(Vec::new());
        for (name, read) in &ALWAYS[..always] {
            differing.compare(name, &read(before), &read(self));
        }
        if always > 0 {
            differing.compare_known(&before.system.hardware_and_libc(), &self.system.hardware_and_libc());
        }
        differing.compare_known(&before.system.known(), &self.system.known());
        if let (Some(there), Some(here)) = (&before.link, &self.link) {
            differing.compare_known(&there.known(), &here.known());
        }
        differing.0
    }
}

struct Differing(Vec<String>);

impl Differing {
    fn compare(&mut self, name: &str, there: &str, here: &str) {
        if there != here {
            let shown = |value: &str| if value.is_empty() { "none".to_owned() } else { value.to_owned() };
            self.0.push(format!("{name}: {} there, {} here", shown(there), shown(here)));
        }
    }

    fn compare_known(&mut self, there: &[(&'static str, String)], here: &[(&'static str, String)]) {
        for (name, value) in here {
            if let Some((_, old)) = there.iter().find(|(other, _)| other == name) {
                self.compare(name, old, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LinkConditions, SystemConditions};
    use super::*;

    fn of(mtu: u32) -> Conditions {
        let link = LinkConditions { interface: "lo".into(), mtu, ip_version: 4, ..LinkConditions::default() };
        Conditions { link: Some(link), ..Conditions::default() }
    }

    #[test]
    fn differences_are_listed_and_unrecorded_conditions_are_skipped() {
        assert_eq!(of(65_536).differences(&of(65_536)), Vec::<String>::new());
        assert_eq!(of(1500).differences(&of(65_536)), ["MTU: 65536 there, 1500 here"]);
        assert_eq!(of(1500).differences(&Conditions::default()), Vec::<String>::new());
        let system = SystemConditions { governor: Some("powersave".into()), ..SystemConditions::default() };
        let other = Conditions { system, kernel: "6.1".into(), ..of(1500) };
        assert_eq!(of(1500).differences(&other), ["kernel: 6.1 there, none here"]);
        let buffers = Conditions { send_buffer_bytes: 9, ..of(1500) };
        assert_eq!(buffers.differences(&of(1500)).len(), 1);
        assert_eq!(buffers.differences_so_far(&of(1500)), Vec::<String>::new());
        let old = Conditions { kernel: "1.0".into(), ..of(65_536) };
        assert_eq!(of(1500).differences_of_settings(&old), ["MTU: 65536 there, 1500 here"]);
    }
}
