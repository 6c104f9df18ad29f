//! What `spandrel bench bank` was asked to do.

use std::path::PathBuf;
use std::time::Duration;

/// Which cluster the bank runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A cluster inside this process.
    Embedded,
    /// A running cluster, by the address of one node.
    Url(String),
    /// That many processes of this program, started and stopped by the bank.
    Processes(u32),
}

/// The options of one run, as on the command line.
#[derive(Clone, Debug, PartialEq)]
pub struct BankOptions {
    /// Where to run.
    pub target: Target,
    /// How many accounts.
    pub accounts: u32,
    /// Over how many shards they are spread, by range.
    pub shards: u32,
    /// How many clients work at the same time.
    pub clients: u32,
    /// How long the measured part lasts.
    pub duration: Duration,
    /// The share of transfers whose accounts are on different shards.
    pub cross_shard: f64,
    /// The share of transactions that only read.
    pub read_only: f64,
    /// The clock source of nodes that the bank starts, as on the command line of `start`.
    pub clock: String,
    /// How many cores each of those nodes uses; `None` is its default.
    pub cores: Option<u32>,
    /// How often everything is audited.
    pub audit_interval: Duration,
    /// How often a node that leads shards is killed.
    pub kill_leaders: Option<Duration>,
    /// How often such a node is stopped.
    pub stop_leaders: Option<Duration>,
    /// Where nodes that the bank starts keep their data; `None` is a temporary directory.
    pub data_dir: Option<PathBuf>,
    /// Where to write the report.
    pub json: Option<PathBuf>,
    /// Where to write the history; `None` keeps it in memory only.
    pub history: Option<PathBuf>,
    /// What the choice of accounts and amounts follows from.
    pub seed: u64,
}

impl Default for BankOptions {
    fn default() -> Self {
        BankOptions {
            target: Target::Embedded,
            accounts: 10_000,
            shards: 8,
            clients: 64,
            duration: Duration::from_secs(30),
            cross_shard: 0.5,
            read_only: 0.1,
            clock: "fixed:250us".to_string(),
            cores: None,
            audit_interval: Duration::from_secs(5),
            kill_leaders: None,
            stop_leaders: None,
            data_dir: None,
            json: None,
            history: None,
            seed: 1,
        }
    }
}

/// Options that make no sense, alone or together.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OptionsError {
    /// A number is outside its range.
    #[error("--{flag} is {given}; it must be from {min} to {max}")]
    OutOfRange {
        /// The flag, without dashes.
        flag: &'static str,
        /// What was given.
        given: f64,
        /// The least it can be.
        min: f64,
        /// The most it can be.
        max: f64,
    },
    /// An interval or duration is zero.
    #[error("--{flag} must be longer than nothing")]
    Zero {
        /// The flag, without dashes.
        flag: &'static str,
    },
    /// A fault was asked for on a cluster whose processes are not the bank's.
    #[error("--{flag} needs --processes: the bank kills and stops only nodes that it started")]
    NeedsProcesses {
        /// The flag, without dashes.
        flag: &'static str,
    },
    /// Cross-shard transfers were asked for where there is one shard.
    #[error(
        "--cross-shard {share} needs at least two shards; give --cross-shard 0 or more --shards"
    )]
    NeedsShards {
        /// What was given.
        share: f64,
    },
}

impl BankOptions {
    /// Checks that the options make sense together.
    ///
    /// # Errors
    /// The first option that does not.
    pub fn validate(&self) -> Result<(), OptionsError> {
        in_range("accounts", f64::from(self.accounts), 2.0, 100_000_000.0)?;
        // A transfer within a shard needs two accounts there.
        in_range("shards", f64::from(self.shards), 1.0, f64::from(self.accounts / 2))?;
        in_range("clients", f64::from(self.clients), 1.0, 10_000.0)?;
        in_range("cross-shard", self.cross_shard, 0.0, 1.0)?;
        in_range("read-only", self.read_only, 0.0, 1.0)?;
        if let Some(cores) = self.cores {
            in_range("cores", f64::from(cores), 1.0, 1_024.0)?;
        }
        if let Target::Processes(count) = self.target {
            in_range("processes", f64::from(count), 1.0, 100.0)?;
        }
        if self.shards == 1 && self.cross_shard > 0.0 {
            return Err(OptionsError::NeedsShards { share: self.cross_shard });
        }
        let faults = [("kill-leaders", self.kill_leaders), ("stop-leaders", self.stop_leaders)];
        for (flag, _) in faults.iter().filter(|(_, interval)| interval.is_some()) {
            if !matches!(self.target, Target::Processes(_)) {
                return Err(OptionsError::NeedsProcesses { flag });
            }
        }
        let [kill, stop] = faults;
        let times = [
            ("duration", Some(self.duration)),
            ("audit-interval", Some(self.audit_interval)),
            kill,
            stop,
        ];
        match times.iter().find(|(_, time)| *time == Some(Duration::ZERO)) {
            Some((flag, _)) => Err(OptionsError::Zero { flag }),
            None => Ok(()),
        }
    }
}

fn in_range(flag: &'static str, given: f64, min: f64, max: f64) -> Result<(), OptionsError> {
    if (min..=max).contains(&given) {
        Ok(())
    } else {
        Err(OptionsError::OutOfRange { flag, given, min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(change: impl FnOnce(&mut BankOptions)) -> String {
        let mut options = BankOptions::default();
        change(&mut options);
        options.validate().expect_err("does not validate").to_string()
    }

    #[test]
    fn default_options_validate() {
        assert_eq!(BankOptions::default().validate(), Ok(()));
    }

    #[test]
    fn options_out_of_range_name_the_flag() {
        assert!(error_of(|o| o.accounts = 1).starts_with("--accounts is 1;"));
        assert!(error_of(|o| o.shards = 0).starts_with("--shards is 0;"));
        assert!(error_of(|o| o.shards = 5_001).starts_with("--shards is 5001;"));
        assert!(error_of(|o| o.clients = 0).starts_with("--clients is 0;"));
        assert!(error_of(|o| o.cross_shard = 1.1).starts_with("--cross-shard is 1.1;"));
        assert!(error_of(|o| o.read_only = f64::NAN).starts_with("--read-only is NaN;"));
        assert!(error_of(|o| o.cores = Some(0)).starts_with("--cores is 0;"));
        assert!(error_of(|o| o.target = Target::Processes(0)).starts_with("--processes is 0;"));
        assert!(error_of(|o| o.audit_interval = Duration::ZERO).starts_with("--audit-interval"));
    }

    #[test]
    fn faults_need_processes_of_the_bank() {
        let every = Some(Duration::from_secs(6));
        assert!(error_of(|o| o.kill_leaders = every).starts_with("--kill-leaders needs"));
        assert!(error_of(|o| o.stop_leaders = every).starts_with("--stop-leaders needs"));
        let target = Target::Processes(3);
        let options = BankOptions { target, kill_leaders: every, ..BankOptions::default() };
        assert_eq!(options.validate(), Ok(()));
    }

    #[test]
    fn one_shard_has_no_cross_shard_transfers() {
        assert!(error_of(|o| o.shards = 1).contains("needs at least two shards"));
        let options = BankOptions { shards: 1, cross_shard: 0.0, ..BankOptions::default() };
        assert_eq!(options.validate(), Ok(()));
    }
}
