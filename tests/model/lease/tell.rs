//! A step in words, with the time that it happens at.

use super::{
    actions::{Action, Leases},
    record::Entry,
    state::{Holding, Passed, State},
};

/// What happened, when, and what each side believes afterwards.
pub fn tell(leases: &Leases, before: &State, action: Action, after: Option<&State>) -> String {
    let at = format!("t={:<2}", leases.steps);
    let seen = after.map_or_else(String::new, |after| beliefs(leases, after));
    format!("{at} {:<66} | {seen}", words(before, action))
}

fn words(before: &State, action: Action) -> String {
    let node = |node: u8| ["M", "N"][usize::from(node)];
    let kind = |hard: bool| if hard { "hard" } else { "soft" };
    match action {
        Action::Time { passed, suspended } => time(passed, suspended),
        Action::Send { holder, hard } => {
            format!("{} sends a {} renewal", name(holder), kind(hard))
        }
        Action::Take { holder, hard, age } => format!(
            "{} learns that its {} renewal of {} ago was acknowledged",
            name(holder),
            kind(hard),
            steps(age)
        ),
        Action::Serve { holder } => format!("{} acknowledges alone from here on", name(holder)),
        Action::Stop { holder } => format!("{} stops", name(holder)),
        Action::Receive { node: by, copy } => {
            let again = if copy {
                ", which is on its way once more"
            } else {
                ""
            };
            format!("{} receives the renewal{again}", node(by))
        }
        Action::Confirm { node: by } => format!("{}'s round of the quorum is through", node(by)),
        Action::Acknowledge { node: by, hard } => {
            format!("{} acknowledges the {} renewal", node(by), kind(hard))
        }
        Action::Decide { node: by, entry } => {
            format!("{} proposes: {}", node(by), entry_words(entry))
        }
        Action::ReceiveCheck { node: by } => format!("{} receives the client's question", node(by)),
        Action::Answer { node: by } => format!("{} answers the client", node(by)),
        Action::Elect { node: by } => {
            format!("{} is elected in term {}", node(by), before.term + 1)
        }
        Action::Open { node: by, carried } => {
            let carried: Vec<_> = carried.into_iter().flatten().map(entry_words).collect();
            match carried.is_empty() {
                true => format!("{} takes office", node(by)),
                false => format!("{} takes office after: {}", node(by), carried.join("; ")),
            }
        }
        Action::Apply { entry, proposed_in } => {
            format!("applied: {} (of term {proposed_in})", entry_words(entry))
        }
        Action::AskWho => "a client asks who is primary".to_owned(),
    }
}

fn time(passed: Passed, suspended: bool) -> String {
    let Passed {
        holder: (counts_all, misses),
        nodes: [m, n],
        ..
    } = passed;
    let holder = match suspended {
        true => "the holder's host is suspended".to_owned(),
        false if counts_all == misses => format!("the holder's clock goes {}", steps(misses)),
        false => format!(
            "the holder's clocks go {}, {}",
            steps(counts_all),
            steps(misses)
        ),
    };
    format!("-- one step; {holder}; M's {}, N's {}", steps(m), steps(n))
}

fn entry_words(entry: Entry) -> String {
    match entry {
        Entry::Expire(epoch) => format!("the lease of epoch {epoch} expires"),
        Entry::Hard(epoch) => format!("a hard renewal of epoch {epoch}"),
        Entry::Empty(epoch) => format!("the empty set in epoch {epoch}"),
        Entry::Grant(epoch) => format!("epoch {} to the other member", epoch + 1),
    }
}

/// What the holders think is left, and what the leaders wait for.
fn beliefs(leases: &Leases, state: &State) -> String {
    let epoch = leases.record.facts(state.group).epoch;
    let holders = (0..).zip(&state.holders).take(epoch as usize);
    let mut all: Vec<String> = holders.filter_map(|(n, h)| holding(n, h)).collect();
    for (name, (office, known)) in ["M", "N"]
        .iter()
        .zip(state.offices.iter().zip(&state.lessors))
    {
        let (Some(office), Some(known)) = (office, known) else {
            continue;
        };
        let left = match leases.scene.released {
            true => office.windows,
            false => known.left,
        };
        all.push(format!(
            "{name} (term {}) waits {}",
            office.term,
            steps(left)
        ));
    }
    if let Some(check) = state.check {
        all.push(format!("the client's call is {} old", steps(check.age)));
    }
    all.join("; ")
}

fn holding(holder: u8, holding: &Holding) -> Option<String> {
    let held = holding.held?;
    let serves = if holding.serves { ", serves" } else { "" };
    Some(format!(
        "{} has {} left{serves}",
        name(holder),
        steps(held.left)
    ))
}

fn name(holder: u8) -> &'static str {
    ["A", "B"][usize::from(holder)]
}

fn steps(tenths: u8) -> String {
    format!("{}.{}", tenths / 10, tenths % 10)
}
