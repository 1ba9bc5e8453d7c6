//! Packets that do not arrive, for ordered pairs of regions.
//!
//! The observer's host is never cut. The application's is, in some strokes, on
//! the side of one region: what an application near a lost region sees.

use fastrand::Rng;

use super::{Field, Nemesis};
use crate::fleet::{CLIENTS, Place};

type Pair = (&'static str, &'static str);

pub fn all() -> Vec<Box<dyn Nemesis>> {
    let shape =
        |name, about, pairs| -> Box<dyn Nemesis> { Box::new(Partition { name, about, pairs }) };
    vec![
        shape(
            "partition-one",
            "one region is cut off from all others",
            |one, rest, _| both(one, rest),
        ),
        shape(
            "partition-halves",
            "a minority of regions and the majority do not reach each other",
            |one, rest, random| {
                let with = random.usize(..rest.len().div_ceil(2));
                let (some, others) = rest.split_at(with);
                let some: Vec<_> = some.iter().copied().chain([one]).collect();
                some.iter().flat_map(|it| both(it, others)).collect()
            },
        ),
        shape(
            "partition-bridge",
            "one region reaches all others, which do not reach each other",
            |_, rest, _| {
                let pairs = rest.iter().flat_map(|it| both(it, rest));
                pairs.filter(|(from, to)| from != to).collect()
            },
        ),
        shape(
            "partition-ring",
            "every region hears the one before it, and speaks to the one after it",
            |one, rest, _| ring(one, rest),
        ),
        shape(
            "partition-one-way",
            "what one region sends is lost, and it receives all; or the other way round",
            |one, rest, random| {
                let away = random.bool();
                let pairs = rest
                    .iter()
                    .map(|it| if away { (one, *it) } else { (*it, one) });
                pairs.collect()
            },
        ),
        shape(
            "partition-pair",
            "two regions do not reach each other, and all others reach both",
            |one, rest, random| both(one, &[rest[random.usize(..rest.len())]]),
        ),
    ]
}

/// All pairs but those of a region and the next one.
fn ring(one: &'static str, rest: &[&'static str]) -> Vec<Pair> {
    let ring: Vec<_> = [one].into_iter().chain(rest.iter().copied()).collect();
    let count = ring.len();
    let pairs = (0..count).flat_map(|from| (0..count).map(move |to| (from, to)));
    pairs
        .filter(|(from, to)| from != to && (from + 1) % count != *to)
        .map(|(from, to)| (ring[from], ring[to]))
        .collect()
}

fn both(one: &'static str, others: &[&'static str]) -> Vec<Pair> {
    others
        .iter()
        .flat_map(|it| [(one, *it), (*it, one)])
        .collect()
}

struct Partition {
    name: &'static str,
    about: &'static str,
    /// Which pairs are cut, of one region that was chosen and the rest.
    pairs: fn(&'static str, &[&'static str], &mut Rng) -> Vec<Pair>,
}

impl Nemesis for Partition {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn strike(&self, field: &Field, random: &mut Rng) -> anyhow::Result<()> {
        let one = field.member(random);
        let others = field.fleet.places.iter().filter(|it| it.index != one.index);
        let mut rest: Vec<&'static str> = others.map(|place| place.region).collect();
        random.shuffle(&mut rest);
        let pairs = (self.pairs)(one.region, &rest, random);
        let with_clients = random.u8(..3) == 0;
        let clients = with_clients.then(|| both(one.region, &[CLIENTS]));
        let clients = clients.unwrap_or_default();
        let stroke = field.stroke_cutting(
            self.name,
            describe(one, &pairs, with_clients),
            &[one],
            pairs
                .iter()
                .map(|(from, to)| ((*from).to_owned(), (*to).to_owned()))
                .collect(),
        );
        let network = &field.fleet.network;
        let lost = |pairs: &[Pair]| -> u64 {
            let counters = pairs
                .iter()
                .filter_map(|(from, to)| network.counters(from, to).ok());
            counters.map(|counters| counters.cut).sum()
        };
        let before = lost(&pairs);
        for (from, to) in pairs.iter().chain(&clients) {
            network.cut(from, to)?;
        }
        field.hold(random, 1.0..12.0);
        for (from, to) in pairs.iter().chain(&clients) {
            network.heal(from, to)?;
        }
        let lost = lost(&pairs) - before;
        if lost > 0 {
            stroke.effect(format!("{lost} packets lost"));
        }
        Ok(())
    }
}

fn describe(one: &Place, pairs: &[Pair], with_clients: bool) -> String {
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(from, to)| format!("{from}→{to}"))
        .collect();
    let clients = if with_clients {
        format!(", {}↔application", one.region)
    } else {
        String::new()
    };
    format!("cut {}{clients}", pairs.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_region_cut_off_hears_nobody_and_is_heard_by_nobody() {
        let cut = both("a", &["b", "c"]);
        assert_eq!(cut, [("a", "b"), ("b", "a"), ("a", "c"), ("c", "a")]);
    }

    #[test]
    fn in_a_ring_each_speaks_to_the_next_alone() {
        assert_eq!(ring("a", &["b", "c"]), [("a", "c"), ("b", "a"), ("c", "b")]);
    }
}
