//! Exit codes: decided here, said in `--help`.

use std::process::ExitCode;

use crate::config::ConfigErrors;
use crate::core::failure::{Class, Failure};

/// How the process ended. The numbers are a promise to scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// It failed; the error says why. Trying again may help.
    Failed = 1,
    /// The command line or the configuration cannot be used.
    Usage = 2,
    /// `check`: a contract that the configuration wants cannot be kept.
    Contract = 3,
    /// Something waits for a decision or an act of the operator: refused offsets, a topic that was made anew, rights.
    Operator = 4,
    /// Stopped by a signal before the work was done; what was done is whole, and it can be started again.
    Stopped = 5,
}

impl Exit {
    /// The table of codes, as `--help` shows it.
    pub const HELP: &str = "Exit codes:
  0  done
  1  failed; trying again may help
  2  the command line or the configuration cannot be used
  3  check: a wanted contract cannot be kept
  4  the operator has to act: offsets that are refused, a topic that was made anew, missing rights
  5  stopped by a signal before the work was done";
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failed command: what is printed, and how the process ends.
#[derive(Clone, Debug)]
pub struct CommandError {
    /// Exit code.
    pub exit: Exit,
    /// Stable short name of the failure, as [`Failure::code`]; empty where there is none.
    pub code: String,
    /// What failed, the outermost first, then what lies behind it.
    pub chain: Vec<String>,
    /// What to do, where the message does not say it already.
    pub hint: Option<String>,
}

impl CommandError {
    /// A failure with a message.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, code: String::new(), chain: vec![message.into()], hint: None }
    }

    /// Any error with all that lies behind it.
    pub fn from_error(exit: Exit, error: &dyn std::error::Error) -> Self {
        let chain = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect();
        Self { exit, code: String::new(), chain, hint: None }
    }

    /// Says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says what was being done.
    #[must_use]
    pub fn context(mut self, what: impl Into<String>) -> Self {
        self.chain.insert(0, what.into());
        self
    }
}

impl From<Failure> for CommandError {
    fn from(failure: Failure) -> Self {
        let exit = match failure.class {
            Class::Operator | Class::Table => Exit::Operator,
            Class::Transient | Class::Unknown | Class::Fenced | Class::Record => Exit::Failed,
        };
        Self { exit, code: failure.code, chain: vec![failure.message], hint: None }
    }
}

impl From<ConfigErrors> for CommandError {
    fn from(errors: ConfigErrors) -> Self {
        Self { code: "configuration".to_owned(), ..Self::new(Exit::Usage, errors.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_documented_ones() {
        let all = [Exit::Ok, Exit::Failed, Exit::Usage, Exit::Contract, Exit::Operator, Exit::Stopped];
        let documented: Vec<u8> = Exit::HELP.lines().skip(1).map(|line| line.trim().as_bytes()[0] - b'0').collect();
        assert_eq!(documented, all.map(|exit| exit as u8));
    }

    #[test]
    fn classes_lead_to_codes() {
        let exit = |class| CommandError::from(Failure::new(class, "c", "m")).exit;
        assert_eq!((exit(Class::Operator), exit(Class::Transient)), (Exit::Operator, Exit::Failed));
    }
}
