//! Exit codes: part of the contract with scripts and service managers.

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything went well; also where the reader of the output went away.
    Ok = 0,
    /// The check, test or replay ran and found failures; or an entry that was named is not there, or not done; or
    /// `serve` failed by itself.
    Findings = 1,
    /// The command line makes no sense, or names a file that can't be read.
    Usage = 2,
    /// The gateway's admin API can't be reached.
    AdminUnreachable = 69,
    /// The store, or another file, can't be written or read.
    Store = 74,
    /// The other side of a connection is away, or an address to listen on is taken; trying again later may help.
    UpstreamAway = 75,
    /// Keys or a token were refused.
    KeysRefused = 77,
    /// The configuration is missing or wrong.
    Config = 78,
}

impl Exit {
    /// What `--help` says of them.
    pub(super) const HELP: &'static str = "\
Exit codes:
   0  success
   1  check, test, replay, doctor or notify test found failures; a named lead doesn't exist or wasn't changed
      (serve: a task panicked, or a listener died)
   2  invalid usage
  69  the gateway's admin API can't be reached
  74  the store or a file can't be written
  75  KaiCalls or the gateway can't be reached; try again later
      (serve: the address is taken or not there yet, or there were sites before and now there are none)
  77  keys or a token were refused
  78  the configuration is missing or wrong";
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
