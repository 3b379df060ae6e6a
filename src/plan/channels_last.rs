//! The channels-last pass. A graph is in PyTorch's order, `[n, c, h, w]`; the kernels of convolutions and poolings want
//! the channels of a position side by side, `[n, h, w, c]`, so that they load four at a time. The pass makes an equal
//! graph in which these ops have the second order, with permutations where the two orders meet. Most permutations cost
//! nothing, since a launch can store its result in the order that its readers want.

use crate::graph::{Graph, Node, Op, Value};
use crate::shape::Shape;
use crate::tensor::DType;

/// The axes of `[n, c, h, w]` in the order `[n, h, w, c]`.
const LAST: [usize; 4] = [0, 2, 3, 1];
/// The axes of `[n, h, w, c]` in the order `[n, c, h, w]`.
const FIRST: [usize; 4] = [0, 3, 1, 2];

/// A four-axis shape with its channels last.
pub(super) fn channels_last(shape: &Shape) -> Shape {
    LAST.iter().map(|axis| shape[*axis]).collect()
}

/// Whether a parameter of this shape has another order in memory than in files.
pub(super) fn is_rearranged(shape: &Shape) -> bool {
    shape.len() == 4 && shape[1] > 1 && shape[2] * shape[3] > 1
}

/// Depth of elementwise nodes that a choice of order examines, which bounds its time.
const DEPTH: usize = 6;

/// The order of a value with four axes: channels first or channels last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    First,
    Last,
}

impl Order {
    fn other(self) -> Order {
        match self {
            Order::First => Order::Last,
            Order::Last => Order::First,
        }
    }
}

/// The new graph while it is built, and what is known of the old graph's values.
pub(super) struct Arranged<'a> {
    old: &'a Graph,
    pub graph: Graph,
    /// The most inputs that a launch of a fused expression may have.
    room: usize,
    /// For each old value, the new value in each order, once it is made.
    made: Vec<[Option<Value>; 2]>,
    /// For each old value, the order in which it is computed.
    natural: Vec<Order>,
    /// Whether nodes that compute the same are made once.
    shares: bool,
    /// For each new value, the nodes whose first operand it is; behind them the nodes without operands.
    followers: Vec<Vec<Value>>,
    sources: Vec<Value>,
    /// For each old value and each order, whether a product reads the value in it, so that it is kept in memory so.
    read: Vec<[bool; 2]>,
}

impl<'a> Arranged<'a> {
    pub fn new(old: &'a Graph, room: usize, shares: bool) -> Arranged<'a> {
        let count = old.nodes().len();
        let mut arranged = Arranged {
            old,
            graph: Graph::new(),
            room,
            made: vec![[None; 2]; count],
            natural: vec![Order::First; count],
            shares,
            followers: vec![],
            sources: vec![],
            read: vec![[false; 2]; count],
        };
        for index in 0..count {
            arranged.compute(Value(index));
        }
        arranged
    }

    /// Adds a node to the new graph, or finds the one that computes the same: a gradient often repeats what the forward
    /// pass has computed.
    fn push(&mut self, op: Op, operands: Vec<Value>, shape: Shape, dtype: DType) -> Value {
        if self.shares {
            self.followers.resize(self.graph.nodes().len(), vec![]);
            let alike = match operands.first() {
                Some(first) => &self.followers[first.0],
                None => &self.sources,
            };
            let equal = |value: &&Value| {
                let node = self.graph.node(**value);
                node.op == op
                    && node.operands == operands
                    && (&node.shape, node.dtype) == (&shape, dtype)
                    && node.full_precision == self.graph.full_precision()
            };
            if let Some(known) = alike.iter().find(equal) {
                return *known;
            }
        }
        let first = operands.first().copied();
        let value = self.graph.push(op, operands, shape, dtype);
        if self.shares {
            first.map_or(&mut self.sources, |first| &mut self.followers[first.0]).push(value);
        }
        value
    }

    /// The new value of an old one in this order; values without four axes have only one order.
    pub fn value(&mut self, old: Value, order: Order) -> Value {
        let order = if self.old.shape(old).len() == 4 { order } else { Order::First };
        if let Some(made) = self.made[old.0][order as usize] {
            return made;
        }
        self.graph.set_scope(self.old.node(old).scope());
        let op = &self.old.node(old).op;
        if matches!(op, Op::Reduce { .. } | Op::Reshape) && self.made[old.0] == [None; 2] {
            let value = if *op == Op::Reshape { self.plain(old) } else { self.reduction(old) };
            self.made[old.0][Order::First as usize] = Some(value);
            return self.value(old, order);
        }
        let value = if self.follows(old, order, DEPTH) {
            self.elementwise(old, order)
        } else {
            let from = self.made[old.0][order.other() as usize].unwrap_or_else(|| self.elementwise(old, order.other()));
            self.permuted(from, if order == Order::Last { LAST } else { FIRST })
        };
        self.made[old.0][order as usize] = Some(value);
        value
    }

    /// Computes a node in the order that suits it best.
    fn compute(&mut self, old: Value) {
        let node = self.old.node(old).clone();
        self.graph.set_scope(node.scope());
        let four = node.shape.len() == 4;
        let (value, order) = match &node.op {
            // Made once a reader asks, in the order that the reader wants.
            Op::Constant(_) | Op::Broadcast | Op::Reduce { .. } | Op::Reshape => return,
            Op::Unary(_) | Op::Binary(_) => {
                let order = if four { self.cheaper(&node.operands) } else { Order::First };
                (self.elementwise(old, order), order)
            }
            Op::Conv2d(_) | Op::Conv2dGradInput(_) | Op::Conv2dGradWeight(_) | Op::Pool(..) => {
                (self.channels_last(&node), Order::Last)
            }
            // Parameters are stored as convolutions read them.
            Op::Parameter { .. } if four => (self.channels_last(&node), Order::Last),
            Op::Concat { axis } => {
                let operands = node.operands.iter().map(|x| self.value(*x, Order::First)).collect();
                (self.concat(operands, *axis), Order::First)
            }
            Op::Input { .. }
            | Op::Parameter { .. }
            | Op::MatMul { .. }
            | Op::Iota
            | Op::Permute(_)
            | Op::Slice { .. }
            | Op::Pad { .. }
            | Op::Gather
            | Op::ScatterAdd
            | Op::Warp
            | Op::Custom(_)
            | Op::Indices { .. }
            | Op::TopK { .. }
            | Op::Lstm(_)
            | Op::Gru(_)
            | Op::LinearRecurrence { .. }
            | Op::Batch
            | Op::RandomUniform { .. }
            | Op::RandomBits { .. } => (self.plain(old), Order::First),
        };
        self.natural[old.0] = order;
        self.made[old.0][order as usize] = Some(value);
    }

    /// A copy of the node on operands, and with a result, with channels last.
    fn channels_last(&mut self, node: &Node) -> Value {
        let operands = node.operands.iter().map(|operand| self.operand(*operand, Order::Last)).collect();
        self.push(node.op.clone(), operands, channels_last(&node.shape), node.dtype)
    }

    /// A reduction in the order in which its operand is kept, if its result is equal in both orders.
    fn reduction(&mut self, old: Value) -> Value {
        let node = self.old.node(old).clone();
        let (Op::Reduce { reduction, axes }, x) = (&node.op, node.operands[0]) else { return self.plain(old) };
        let order = match self.read[x.0] {
            [false, true] => Order::Last,
            [true, false] => Order::First,
            _ => self.natural[x.0],
        };
        let kept: Vec<usize> = LAST.iter().copied().filter(|axis| !axes.contains(axis)).collect();
        if self.old.shape(x).len() != 4 || order == Order::First || !kept.is_sorted() {
            return self.plain(old);
        }
        let mut axes: Vec<usize> = axes.iter().map(|axis| FIRST[*axis]).collect();
        axes.sort_unstable();
        let operand = self.value(x, Order::Last);
        self.graph.set_scope(node.scope());
        self.push(Op::Reduce { reduction: *reduction, axes }, vec![operand], node.shape, node.dtype)
    }

    /// A copy of the node on operands with channels first.
    fn plain(&mut self, old: Value) -> Value {
        let node = self.old.node(old).clone();
        let read = matches!(node.op, Op::MatMul { .. });
        let value = if read { Self::operand } else { Self::value };
        let operands = node.operands.iter().map(|x| value(self, *x, Order::First)).collect();
        self.push(node.op, operands, node.shape, node.dtype)
    }

    /// The concatenation of operands; in several stages where one launch cannot read them all.
    fn concat(&mut self, mut operands: Vec<Value>, axis: usize) -> Value {
        let room = self.room;
        while operands.len() > room {
            let join = |some: &[Value]| if let [only] = some { *only } else { self.concat(some.to_vec(), axis) };
            operands = operands.chunks(room).map(join).collect();
        }
        let mut shape = self.graph.shape(operands[0]).to_vec();
        shape[axis] = operands.iter().map(|operand| self.graph.shape(*operand)[axis]).sum();
        let dtype = self.graph.node(operands[0]).dtype;
        self.push(Op::Concat { axis }, operands, shape.into(), dtype)
    }

    /// The operand of a product in this order, which is recorded as read in it.
    fn operand(&mut self, old: Value, order: Order) -> Value {
        let value = self.value(old, order);
        let mut source = old;
        self.read[source.0][order as usize] = true;
        // A reshape shares the memory of its operand.
        while self.old.node(source).op == Op::Reshape {
            source = self.old.node(source).operands[0];
            self.read[source.0][Order::First as usize] = true;
        }
        value
    }

    /// A constant, a broadcast or an elementwise node in this order.
    fn elementwise(&mut self, old: Value, order: Order) -> Value {
        let node = self.old.node(old).clone();
        let scope = self.graph.set_scope(node.scope());
        let shape = if order == Order::Last { channels_last(&node.shape) } else { node.shape.clone() };
        let value = if node.op == Op::Broadcast && order == Order::Last {
            let x = node.operands[0];
            let from = self.old.shape(x).clone();
            let operand = if from.len() == 4 {
                self.value(x, Order::Last)
            } else {
                let lead = std::iter::repeat_n(1, 4 - from.len());
                let four: Shape = lead.chain(from.iter().copied()).collect();
                let x = self.value(x, Order::First);
                let x = self.push(Op::Reshape, vec![x], four, node.dtype);
                self.permuted(x, LAST)
            };
            self.push(Op::Broadcast, vec![operand], shape, node.dtype)
        } else {
            let operands = node.operands.iter().map(|x| self.value(*x, order)).collect();
            self.graph.set_scope(node.scope());
            self.push(node.op.clone(), operands, shape, node.dtype)
        };
        self.graph.set_scope(scope);
        value
    }

    /// Whether a value is an elementwise expression of values that are already made in this order.
    fn follows(&self, old: Value, order: Order, depth: usize) -> bool {
        let node = self.old.node(old);
        let known = |x: &Value| self.made[x.0][order as usize].is_some();
        let computes = depth > 0 && matches!(node.op, Op::Unary(_) | Op::Binary(_));
        matches!(node.op, Op::Constant(_) | Op::Broadcast)
            || computes && node.operands.iter().all(|x| known(x) || self.follows(*x, order, depth - 1))
    }

    /// The order in which an elementwise node reads the most of its operands in their order in memory.
    fn cheaper(&self, operands: &[Value]) -> Order {
        let cost = |order: Order| operands.iter().map(|x| self.cost(*x, order, DEPTH)).sum::<usize>();
        let (first, last) = (cost(Order::First), cost(Order::Last));
        let any_last = operands.iter().any(|x| self.natural[x.0] == Order::Last);
        if last < first || last == first && any_last { Order::Last } else { Order::First }
    }

    /// The cost of reading a value in this order: 0 where it is kept, or computed, in it.
    fn cost(&self, old: Value, order: Order, depth: usize) -> usize {
        let node = self.old.node(old);
        if matches!(node.op, Op::Constant(_) | Op::Broadcast) {
            0
        } else if self.read[old.0] != [false; 2] {
            // A value that is kept in the other order only would be read out of order.
            2 * usize::from(!self.read[old.0][order as usize])
        } else if depth > 0 && matches!(node.op, Op::Unary(_) | Op::Binary(_)) {
            node.operands.iter().map(|x| self.cost(*x, order, depth - 1)).max().unwrap_or(0)
        } else {
            usize::from(self.natural[old.0] != order)
        }
    }

    fn permuted(&mut self, value: Value, order: [usize; 4]) -> Value {
        let shape = self.graph.shape(value).clone();
        let dtype = self.graph.node(value).dtype;
        let result: Shape = order.iter().map(|axis| shape[*axis]).collect();
        let moved: Vec<usize> = order.iter().copied().filter(|axis| shape[*axis] > 1).collect();
        // Moving axes of size 1 moves no element.
        let op = if moved.is_sorted() { Op::Reshape } else { Op::Permute(order.to_vec()) };
        self.push(op, vec![value], result, dtype)
    }
}
