//! In what two runs differ that measured the same thing.

use super::Conditions;

/// A condition that every version has recorded: what it is called, and how it is read.
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

/// Of [`ALWAYS`], those that are known before there is a connection.
const BEFORE_CONNECTING: usize = 3;

impl Conditions {
    /// In what an earlier run differs, each as `what: … there, … here`. What one of the two did not record is passed
    /// over.
    pub fn differences(&self, before: &Self) -> Vec<String> {
        self.differing(before, ALWAYS.len())
    }

    /// The same of what is known before anything was measured now.
    pub fn differences_so_far(&self, before: &Self) -> Vec<String> {
        self.differing(before, BEFORE_CONNECTING)
    }

    /// Of all differences those that somebody has set and can set back: the interface's and the system's. Where these
    /// differ, nothing is said of the paths; a comparison with another kernel or another machine is what it says.
    pub fn differences_of_settings(&self, before: &Self) -> Vec<String> {
        self.differing(before, 0)
    }

    fn differing(&self, before: &Self, always: usize) -> Vec<String> {
        let mut differing = Differing(Vec::new());
        for (what, of) in &ALWAYS[..always] {
            differing.compare(what, &of(before), &of(self));
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
    fn compare(&mut self, what: &str, there: &str, here: &str) {
        if there != here {
            let shown = |value: &str| if value.is_empty() { "none".to_owned() } else { value.to_owned() };
            self.0.push(format!("{what}: {} there, {} here", shown(there), shown(here)));
        }
    }

    fn compare_known(&mut self, there: &[(&'static str, String)], here: &[(&'static str, String)]) {
        for (what, value) in here {
            if let Some((_, old)) = there.iter().find(|(name, _)| name == what) {
                self.compare(what, old, value);
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
    fn what_differs_is_named_and_what_was_not_recorded_is_passed_over() {
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
