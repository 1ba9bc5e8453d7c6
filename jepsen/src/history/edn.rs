//! Histories as EDN, in the shape of Jepsen's, so that Knossos and Elle can be
//! used elsewhere.
//!
//! One map a line, in the order of time; the file begins with a comment that
//! says which `:f` takes and gives which `:value`.

use std::{collections::BTreeMap, fmt::Write as _, io};

use super::{Answer, Fault, History, Nanos, Operation, Outcome, Primary, Request};

const HEADER: &str = "\
;; One operation's invocation or completion a line; :time is nanoseconds since
;; the run began. :info: the outcome is not known. Forms of :f and :value:
;;   :write          row            inserted once; ok adds :member and :timeline.
;;                                  For Elle's list-append: [[:append :rows row]].
;;   :probe          row            the same, at the :member that was asked.
;;   :read-back      [row ...]      all rows of :member, in the end. For Elle:
;;                                  [[:r :rows [row ...]]]; for a set: :read.
;;   :read           {:epoch :member :address} or nil, by a check of :node. For
;;                                  Knossos: a read of a register, but for nil.
;;   :publish        what :read gives: the register's write, which nobody outside
;;                                  saw begin. It may have at any time since the
;;                                  start, and was done when the first was told.
;;   :resolve        [address ...]  by name server :server; :resolve-epoch epoch.
;;   :admin          what was asked; ok {:member :epoch}.
";

/// Writes the whole history.
pub fn write(history: &History, out: &mut impl io::Write) -> io::Result<()> {
    out.write_all(HEADER.as_bytes())?;
    let published = publications(history);
    let mut moments = moments(history, &published);
    moments.sort_by_key(|moment| (moment.at, moment.rank));
    for (index, moment) in moments.iter().enumerate() {
        let (at, rest) = (moment.at, moment.line());
        writeln!(out, "{{:index {index}, :time {at}, {rest}}}")?;
    }
    Ok(())
}

struct Moment<'a> {
    at: Nanos,
    /// At one time: first what ends, then what begins, then what ends at once.
    rank: u8,
    what: What<'a>,
}

enum What<'a> {
    Invoked(&'a Operation),
    Completed(&'a Operation),
    Began(&'a Fault),
    Ended(&'a Fault),
    Published(&'a Publication<'a>),
    Told(&'a Publication<'a>),
}

/// A write of the register that checks read.
struct Publication<'a> {
    /// One of its own: they may overlap.
    process: u64,
    primary: &'a Primary,
    /// When the first was told.
    told: Nanos,
}

fn publications(history: &History) -> Vec<Publication<'_>> {
    let mut first: BTreeMap<(u32, &str), (&Primary, Nanos)> = BTreeMap::new();
    for (_, answer, at) in history.answered() {
        if let Answer::Checked {
            primary: Some(primary),
            ..
        } = answer
        {
            let key = (primary.epoch, primary.member.as_str());
            let (_, told) = first.entry(key).or_insert((primary, at));
            *told = at.min(*told);
        }
    }
    let processes = history.operations.iter().map(|it| it.process);
    let free = processes.max().map_or(0, |most| most + 1);
    let numbered = (free..).zip(first.into_values());
    let publication = |(process, (primary, told))| Publication {
        process,
        primary,
        told,
    };
    numbered.map(publication).collect()
}

fn moments<'a>(history: &'a History, published: &'a [Publication<'a>]) -> Vec<Moment<'a>> {
    let published = published.iter().flat_map(|publication| {
        let begun = Moment {
            at: 0,
            rank: 1,
            what: What::Published(publication),
        };
        let told = Moment {
            at: publication.told,
            rank: 0,
            what: What::Told(publication),
        };
        [begun, told]
    });
    let operations = history.operations.iter().flat_map(|operation| {
        let invoked = Moment {
            at: operation.invoked,
            rank: 1,
            what: What::Invoked(operation),
        };
        let completed = operation.completed.map(|at| Moment {
            at,
            rank: if at == operation.invoked { 2 } else { 0 },
            what: What::Completed(operation),
        });
        [Some(invoked), completed].into_iter().flatten()
    });
    let faults = history.faults.iter().flat_map(|fault| {
        let began = Moment {
            at: fault.began,
            rank: 1,
            what: What::Began(fault),
        };
        let ended = fault.ended.map(|at| Moment {
            at,
            rank: 2,
            what: What::Ended(fault),
        });
        [Some(began), ended].into_iter().flatten()
    });
    operations.chain(faults).chain(published).collect()
}

impl Moment<'_> {
    fn line(&self) -> String {
        match self.what {
            What::Invoked(operation) => asked(operation, ":invoke", ""),
            What::Completed(operation) => match &operation.outcome {
                Outcome::Ok(answer) => answered(operation, answer),
                Outcome::Fail(why) => asked(operation, ":fail", &error(why)),
                Outcome::Info(why) => asked(operation, ":info", &error(why)),
            },
            What::Began(fault) => nemesis("start", fault),
            What::Ended(fault) => nemesis("stop", fault),
            What::Published(it) => publication(it, ":invoke"),
            What::Told(it) => publication(it, ":ok"),
        }
    }
}

fn error(why: &str) -> String {
    format!(", :error {}", string(why))
}

fn nemesis(act: &str, fault: &Fault) -> String {
    let (name, what) = (keyword(&fault.name), string(&fault.what));
    format!(
        ":type :info, :process :nemesis, :f :{act}-{name}, :value {what}, :fault {}",
        fault.id
    )
}

fn publication(it: &Publication<'_>, kind: &str) -> String {
    let (process, value) = (it.process, register(it.primary));
    format!(":type {kind}, :process {process}, :f :publish, :value {value}")
}

/// The operation with the value that was asked with.
fn asked(operation: &Operation, kind: &str, more: &str) -> String {
    let value = match &operation.request {
        Request::Write { row } | Request::Probe { row, .. } => row.to_string(),
        Request::Admin { what } => string(what),
        _ => "nil".to_owned(),
    };
    line(operation, kind, &value, more)
}

fn answered(operation: &Operation, answer: &Answer) -> String {
    let (value, more) = match answer {
        Answer::Written { member, timeline } => {
            let more = format!(", :by {}, :timeline {timeline}", string(member));
            return asked(operation, ":ok", &more);
        }
        Answer::Rows { rows } => (numbers(rows), String::new()),
        Answer::Checked {
            primary,
            valid_for_ms,
            revision,
        } => (
            primary.as_ref().map_or("nil".to_owned(), register),
            format!(", :valid-for-ms {valid_for_ms}, :revision {revision}"),
        ),
        Answer::Addresses { addresses, ttl } => {
            let addresses: Vec<_> = addresses.iter().map(|text| string(text)).collect();
            (
                format!("[{}]", addresses.join(" ")),
                format!(", :ttl {ttl}"),
            )
        }
        Answer::Epoch { epoch } => (epoch.to_string(), String::new()),
        Answer::ServFail { extended } => {
            let extended = extended.map_or("nil".to_owned(), |code| code.to_string());
            (":servfail".to_owned(), format!(", :extended {extended}"))
        }
        Answer::Refused { code } => (":refused".to_owned(), format!(", :rcode {code}")),
        Answer::Done { member, epoch } => {
            let member = string(member);
            (
                format!("{{:member {member}, :epoch {epoch}}}"),
                String::new(),
            )
        }
    };
    line(operation, ":ok", &value, &more)
}

fn register(primary: &Primary) -> String {
    let (member, address) = (string(&primary.member), string(&primary.address));
    let epoch = primary.epoch;
    format!("{{:epoch {epoch}, :member {member}, :address {address}}}")
}

fn line(operation: &Operation, kind: &str, value: &str, more: &str) -> String {
    let (f, asked) = match &operation.request {
        Request::Write { .. } => ("write", String::new()),
        Request::ReadBack { member } => ("read-back", format!(", :member {}", string(member))),
        Request::Probe { member, .. } => ("probe", format!(", :member {}", string(member))),
        Request::Check { node } => ("read", format!(", :node {node}")),
        Request::ResolveAddress { server } => ("resolve", format!(", :server {server}")),
        Request::ResolveEpoch { server } => ("resolve-epoch", format!(", :server {server}")),
        Request::Admin { .. } => ("admin", String::new()),
    };
    let process = operation.process;
    format!(":type {kind}, :process {process}, :f :{f}, :value {value}{asked}{more}")
}

fn numbers(rows: &[i64]) -> String {
    let rows: Vec<_> = rows.iter().map(i64::to_string).collect();
    format!("[{}]", rows.join(" "))
}

/// A name as EDN lets a keyword be written.
fn keyword(name: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    name.chars().map(allowed).collect()
}

/// A string literal. EDN knows the escapes of Clojure's reader.
fn string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => {
                // Writing to a string cannot fail.
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(history: &History) -> Vec<String> {
        let mut out = Vec::new();
        write(history, &mut out).expect("memory");
        let text = String::from_utf8(out).expect("UTF-8");
        assert!(text.starts_with(";;"));
        let maps = text.lines().filter(|line| !line.starts_with(";;"));
        maps.map(str::to_owned).collect()
    }

    fn operation(request: Request, from: Nanos, to: Option<Nanos>, outcome: Outcome) -> Operation {
        Operation {
            id: 0,
            process: 3,
            workload: "writes".to_owned(),
            request,
            invoked: from,
            completed: to,
            outcome,
        }
    }

    #[test]
    fn an_operation_is_two_lines_and_one_without_an_end_is_one() {
        let row = |row| Request::Write { row };
        let written = Outcome::Ok(Answer::Written {
            member: "paris".to_owned(),
            timeline: 2,
        });
        let history = History {
            operations: vec![
                operation(row(12), 5, Some(9), written),
                operation(row(13), 7, None, Outcome::Info("lost".to_owned())),
                operation(
                    row(14),
                    8,
                    Some(8),
                    Outcome::Fail("read \"only\"".to_owned()),
                ),
            ],
            ..History::default()
        };
        assert_eq!(
            lines(&history),
            [
                "{:index 0, :time 5, :type :invoke, :process 3, :f :write, :value 12}",
                "{:index 1, :time 7, :type :invoke, :process 3, :f :write, :value 13}",
                "{:index 2, :time 8, :type :invoke, :process 3, :f :write, :value 14}",
                r#"{:index 3, :time 8, :type :fail, :process 3, :f :write, :value 14, :error "read \"only\""}"#,
                r#"{:index 4, :time 9, :type :ok, :process 3, :f :write, :value 12, :by "paris", :timeline 2}"#,
            ]
        );
    }

    #[test]
    fn a_process_that_goes_on_at_once_ends_first() {
        let check = || Request::Check { node: 1 };
        let checked = || {
            Outcome::Ok(Answer::Checked {
                primary: None,
                valid_for_ms: 0,
                revision: 7,
            })
        };
        let history = History {
            operations: vec![
                operation(check(), 1, Some(5), checked()),
                operation(check(), 5, Some(6), checked()),
            ],
            ..History::default()
        };
        let kinds: Vec<bool> = lines(&history)
            .iter()
            .map(|line| line.contains(":invoke"))
            .collect();
        assert_eq!(kinds, [true, false, true, false]);
    }

    #[test]
    fn what_checks_read_was_written_before_the_first_was_told() {
        let check = |from, to| {
            let primary = Primary {
                member: "paris".to_owned(),
                epoch: 2,
                address: "192.0.2.1:5432".to_owned(),
            };
            let checked = Answer::Checked {
                primary: Some(primary),
                valid_for_ms: 0,
                revision: 7,
            };
            let request = Request::Check { node: 1 };
            operation(request, from, Some(to), Outcome::Ok(checked))
        };
        let history = History {
            operations: vec![check(1, 9), check(2, 5)],
            ..History::default()
        };
        let lines = lines(&history);
        let value = r#"{:epoch 2, :member "paris", :address "192.0.2.1:5432"}"#;
        let write = |index, time, kind| {
            format!(
                "{{:index {index}, :time {time}, :type {kind}, :process 4, :f :publish, :value {value}}}"
            )
        };
        assert_eq!(lines[0], write(0, 0, ":invoke"));
        assert!(lines.contains(&write(4, 5, ":ok")), "{lines:?}");
    }

    #[test]
    fn a_fault_is_of_the_nemesis_and_of_unknown_outcome() {
        let fault = Fault {
            id: 4,
            name: "kill node".to_owned(),
            what: "kill -9".to_owned(),
            regions: Vec::new(),
            began: 10,
            ended: Some(20),
            cut: Vec::new(),
            effect: None,
        };
        let history = History {
            faults: vec![fault],
            ..History::default()
        };
        let lines = lines(&history);
        assert_eq!(
            lines[0],
            r#"{:index 0, :time 10, :type :info, :process :nemesis, :f :start-kill-node, :value "kill -9", :fault 4}"#
        );
        assert!(lines[1].contains(":f :stop-kill-node"), "{}", lines[1]);
    }

    #[test]
    fn strings_are_escaped() {
        assert_eq!(string("a\"b\\c\nd\u{1}é"), "\"a\\\"b\\\\c\\nd\\u0001é\"");
    }
}
