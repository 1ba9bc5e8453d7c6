//! The sync protocol as something to explore: `N` members in one scene.

use super::{
    actions::{Action, Successors},
    hash::fingerprint,
    invariants::Violation,
    scene::{Node, Scene},
    search::{Found, Next, Seen, Space, explore},
    trace,
    world::World,
};

struct Protocol<'a, const N: usize> {
    world: World,
    scene: &'a Scene,
    grants: usize,
    seals: usize,
    /// States in which some write was acknowledged.
    acknowledged: usize,
}

/// Explores `scene`, with as many members as it has.
pub fn explore_scene(scene: &Scene) -> Found {
    match scene.members {
        3 => of::<3>(scene),
        4 => of::<4>(scene),
        other => panic!("{other} members: made for three or four"),
    }
}

fn of<const N: usize>(scene: &Scene) -> Found {
    let world = World::new(N, scene.mixture);
    let mut protocol = Protocol::<N> {
        world,
        scene,
        grants: 0,
        seals: 0,
        acknowledged: 0,
    };
    explore(scene.name, &mut protocol)
}

impl<const N: usize> Space for Protocol<'_, N> {
    type State = Node<N>;
    type Action = Action;
    type Violation = Violation;

    fn start(&mut self) -> Node<N> {
        self.scene.start(&mut self.world)
    }

    fn next(&mut self, node: &Node<N>, out: &mut Vec<Next<Self>>) {
        let (world, scene) = (&mut self.world, self.scene);
        Successors { world, scene, out }.of(node);
        self.acknowledged += usize::from(node.protected != 0);
        for (action, _) in out {
            self.grants += usize::from(matches!(action, Action::Grant(..)));
            self.seals += usize::from(matches!(action, Action::SealEpoch(_)));
        }
    }

    fn violation(&self, node: &Node<N>) -> Option<Violation> {
        node.violation(&self.world)
    }

    fn print(&mut self, node: &Node<N>) -> u128 {
        let mut least = fingerprint(node);
        for renaming in self.world.renamings().iter() {
            let renamed = node.renamed(&mut self.world, *renaming);
            least = least.min(fingerprint(&renamed));
        }
        least
    }

    fn tell(&mut self, before: &Node<N>, action: Action, after: Option<&Node<N>>) -> String {
        trace::tell(&self.world, before, action, after)
    }

    fn seen(&self) -> Seen {
        let (grants, seals) = (self.grants, self.seals);
        let acknowledged = self.acknowledged;
        [
            ("grant", grants),
            ("seal", seals),
            ("acknowledged write", acknowledged),
        ]
        .into()
    }
}
