//! A pass over naga's modules that rewrites readable tiles into the form that drivers' compilers handle well.
//!
//! Short loops of a constant number of trips are unrolled, and local arrays that are then indexed by constants alone
//! become one variable for each element: registers. Metal's and DX12's compilers cannot analyse loops as naga wraps
//! them, and put arrays that they cannot unroll into memory.
//!
//! Each function is rewritten in one walk over its statements. Naga's constant evaluator replaces every expression that
//! follows from constants by its value; the counter of a loop is a constant in each of the unrolled copies.

use naga::proc::{ConstantEvaluator, Emitter, ExpressionKind, ExpressionKindTracker, Layouter};
use naga::{
    ArraySize, Block, Expression, Function, GatherMode, Handle, Literal, LocalVariable, Module, Span, Statement,
    SwitchCase, SwitchValue, Type, TypeInner,
};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// Most trips of a loop that is unrolled.
const TRIPS: usize = 64;
/// Most elements of an array that is split: no device has more registers.
const ELEMENTS: u32 = 256;

/// The nested blocks of a statement, as references of the kind that the statement is given by: `iter` or `iter_mut`.
macro_rules! blocks {
    ($statement:expr, $iter:ident) => {
        match $statement {
            Statement::Block(block) => vec![block],
            Statement::If { accept, reject, .. } => vec![accept, reject],
            Statement::Switch { cases, .. } => cases.$iter().map(|SwitchCase { body, .. }| body).collect(),
            Statement::Loop { body, continuing, .. } => vec![body, continuing],
            _ => vec![],
        }
    };
}

/// Unrolls loops and splits arrays in every function of a module. A function with an unknown construct stays unchanged.
pub(super) fn unroll(module: &mut Module) {
    let functions: Vec<_> = module.functions.iter().map(|(handle, _)| handle).collect();
    for handle in functions {
        let function = module.functions[handle].clone();
        module.functions[handle] = rewritten(module, function);
    }
    for index in 0..module.entry_points.len() {
        let function = module.entry_points[index].function.clone();
        module.entry_points[index].function = rewritten(module, function);
    }
}

fn rewritten(module: &mut Module, old: Function) -> Function {
    let mut whole = HashSet::new();
    loop {
        match Rewriter::new(module, &old, &whole).function() {
            Ok(function) => return function,
            // An index into this array is known only on the device, so the next attempt leaves the array whole.
            Err(Refusal::Indexed(variable)) if whole.insert(variable) => {}
            Err(_) => return old,
        }
    }
}

/// Why a function cannot be rewritten.
enum Refusal {
    /// A split variable is used as one value.
    Indexed(Handle<LocalVariable>),
    /// The function has an expression or statement that no shader of Pinhole has.
    Unknown,
}

type Result<T> = std::result::Result<T, Refusal>;

/// The rewritten form of an expression.
#[derive(Clone)]
enum Value {
    One(Handle<Expression>),
    /// A pointer to a split variable or to a part of one: the type, and pointers to the elements.
    Many(Handle<Type>, Rc<[Value]>),
}

struct Rewriter<'a> {
    module: &'a mut Module,
    old: &'a Function,
    new: Function,
    whole: &'a HashSet<Handle<LocalVariable>>,
    kinds: ExpressionKindTracker,
    layouter: Layouter,
    emitter: Emitter,
    /// The block that receives statements.
    block: Block,
    /// The rewritten form of each expression of the old function at the current statement.
    values: HashMap<Handle<Expression>, Value>,
    /// The rewritten form of each variable of the old function.
    variables: HashMap<Handle<LocalVariable>, Value>,
    /// The literals that new variables hold at the current statement.
    known: HashMap<Handle<LocalVariable>, Handle<Expression>>,
    /// New variables that the new function reads.
    read: HashSet<Handle<LocalVariable>>,
}

impl<'a> Rewriter<'a> {
    fn new(module: &'a mut Module, old: &'a Function, whole: &'a HashSet<Handle<LocalVariable>>) -> Rewriter<'a> {
        let new = Function {
            name: old.name.clone(),
            arguments: old.arguments.clone(),
            result: old.result.clone(),
            diagnostic_filter_leaf: old.diagnostic_filter_leaf,
            ..Function::default()
        };
        Rewriter {
            module,
            old,
            new,
            whole,
            kinds: ExpressionKindTracker::new(),
            layouter: Layouter::default(),
            emitter: Emitter::default(),
            block: Block::new(),
            values: HashMap::new(),
            variables: HashMap::new(),
            known: HashMap::new(),
            read: HashSet::new(),
        }
    }

    fn function(mut self) -> Result<Function> {
        self.emitter.start(&self.new.expressions);
        for (handle, variable) in self.old.local_variables.iter() {
            let init = variable.init.map(|init| self.constant(init)).transpose()?;
            let leaves = leaves(self.module, variable.ty);
            let split = !self.whole.contains(&handle) && leaves.is_some_and(|leaves| leaves <= ELEMENTS);
            let name = variable.name.clone().unwrap_or_default();
            let value = self.declare(name, variable.ty, init, split);
            self.variables.insert(handle, value);
        }
        self.statements(self.old.body.span_iter())?;
        self.flush();
        let _ = self.emitter.finish(&self.new.expressions);
        let body = std::mem::take(&mut self.block);
        self.new.body = self.pruned(body);
        Ok(self.new)
    }

    /// The value of a constant expression, which no statement emits.
    fn constant(&mut self, old: Handle<Expression>) -> Result<Handle<Expression>> {
        for operand in operands(&mut self.old.expressions[old].clone())? {
            self.constant(*operand)?;
        }
        self.expression(old)?;
        self.one(old)
    }

    /// Declares a variable with its initial value, or one variable for each element of a split array.
    fn declare(&mut self, name: String, ty: Handle<Type>, init: Option<Handle<Expression>>, split: bool) -> Value {
        if let (true, TypeInner::Array { base, size: ArraySize::Constant(count), .. }) =
            (split, self.module.types[ty].inner.clone())
        {
            let element = |index| {
                let init = init.map(|base| self.append(Expression::AccessIndex { base, index }, Span::UNDEFINED));
                self.declare(format!("{name}_{index}"), base, init, split)
            };
            return Value::Many(ty, (0..count.get()).map(element).collect());
        }
        let variable = self.new.local_variables.append(LocalVariable { name: Some(name), ty, init }, Span::UNDEFINED);
        if let Some(init) = init.filter(|init| self.literal(*init).is_some()) {
            self.known.insert(variable, init);
        }
        Value::One(self.append(Expression::LocalVariable(variable), Span::UNDEFINED))
    }

    /// Adds an expression to the new function, or its value where that is constant.
    fn append(&mut self, expression: Expression, span: Span) -> Handle<Expression> {
        let mut evaluator = ConstantEvaluator::for_wgsl_function(
            self.module,
            &mut self.new.expressions,
            &mut self.kinds,
            &mut self.layouter,
            &mut self.emitter,
            &mut self.block,
            false,
        );
        evaluator.try_eval_and_append(expression.clone(), span).unwrap_or_else(|_| {
            // An expression such as a difference below zero, in code that is never reached, is left to run time.
            let handle = self.new.expressions.append(expression, span);
            self.kinds.insert(handle, ExpressionKind::Runtime);
            handle
        })
    }

    /// Adds the expression that stands for a statement's result.
    fn result(&mut self, old: Handle<Expression>) -> Handle<Expression> {
        self.flush();
        let _ = self.emitter.finish(&self.new.expressions);
        let handle = self.new.expressions.append(self.old.expressions[old].clone(), self.old.expressions.get_span(old));
        self.kinds.insert(handle, ExpressionKind::Runtime);
        self.emitter.start(&self.new.expressions);
        self.values.insert(old, Value::One(handle));
        handle
    }

    /// Emits the expressions added so far at the end of the block.
    fn flush(&mut self) {
        self.block.extend(self.emitter.finish(&self.new.expressions));
        self.emitter.start(&self.new.expressions);
    }

    fn push(&mut self, statement: Statement, span: Span) {
        self.flush();
        self.block.push(statement, span);
    }

    fn literal(&self, handle: Handle<Expression>) -> Option<Literal> {
        match self.new.expressions[handle] {
            Expression::Literal(literal) => Some(literal),
            _ => None,
        }
    }

    fn value(&mut self, old: Handle<Expression>) -> Result<Value> {
        if let Some(value) = self.values.get(&old) {
            return Ok(value.clone());
        }
        let value = match self.old.expressions[old] {
            Expression::LocalVariable(variable) => self.variables[&variable].clone(),
            ref expression if expression.needs_pre_emit() => {
                Value::One(self.append(expression.clone(), self.old.expressions.get_span(old)))
            }
            _ => return Err(Refusal::Unknown),
        };
        self.values.insert(old, value.clone());
        Ok(value)
    }

    /// The rewritten form of an expression; fails where the expression is a split variable.
    fn one(&mut self, old: Handle<Expression>) -> Result<Handle<Expression>> {
        match self.value(old)? {
            Value::One(handle) => Ok(handle),
            Value::Many(..) => Err(root(self.old, old).map_or(Refusal::Unknown, Refusal::Indexed)),
        }
    }

    /// As [`Rewriter::one`], for a use that may read through a pointer.
    fn operand(&mut self, old: Handle<Expression>) -> Result<Handle<Expression>> {
        let handle = self.one(old)?;
        self.read.extend(root(&self.new, handle));
        Ok(handle)
    }

    fn load(&mut self, place: &Value, span: Span) -> Handle<Expression> {
        match place {
            Value::One(pointer) => {
                if let Expression::LocalVariable(variable) = self.new.expressions[*pointer]
                    && let Some(literal) = self.known.get(&variable)
                {
                    return *literal;
                }
                self.read.extend(root(&self.new, *pointer));
                self.append(Expression::Load { pointer: *pointer }, span)
            }
            Value::Many(ty, parts) => {
                let components = parts.iter().map(|part| self.load(part, span)).collect();
                self.append(Expression::Compose { ty: *ty, components }, span)
            }
        }
    }

    fn store(&mut self, place: &Value, value: Handle<Expression>, span: Span) {
        match place {
            Value::One(pointer) => {
                if let Expression::LocalVariable(variable) = self.new.expressions[*pointer] {
                    match self.literal(value) {
                        Some(_) => self.known.insert(variable, value),
                        None => self.known.remove(&variable),
                    };
                }
                self.push(Statement::Store { pointer: *pointer, value }, span);
            }
            Value::Many(_, parts) => {
                // The value may read this variable, so all elements are computed before the first store.
                let elements = (0..parts.len() as u32).map(|index| Expression::AccessIndex { base: value, index });
                let elements: Vec<_> = elements.map(|element| self.append(element, span)).collect();
                for (part, element) in parts.iter().zip(elements) {
                    self.store(part, element, span);
                }
            }
        }
    }

    /// Rewrites an expression at the statement that emits it.
    fn expression(&mut self, old: Handle<Expression>) -> Result<()> {
        let span = self.old.expressions.get_span(old);
        let mut expression = self.old.expressions[old].clone();
        if let Expression::Access { base, index } = expression {
            let index = self.one(index)?;
            let index = match self.literal(index) {
                Some(Literal::U32(index)) => Some(index),
                Some(Literal::I32(index)) => u32::try_from(index).ok(),
                _ => None,
            };
            if let Some(index) = index {
                expression = Expression::AccessIndex { base, index };
            }
        }
        let value = match expression {
            Expression::Load { pointer } => {
                let place = self.value(pointer)?;
                Value::One(self.load(&place, span))
            }
            Expression::AccessIndex { base, index } => match self.value(base)? {
                Value::Many(_, parts) => parts.get(index as usize).cloned().ok_or(Refusal::Unknown)?,
                Value::One(base) => Value::One(self.append(Expression::AccessIndex { base, index }, span)),
            },
            mut other => {
                for operand in operands(&mut other)? {
                    *operand = self.one(*operand)?;
                }
                Value::One(self.append(other, span))
            }
        };
        if let (Value::One(handle), Some(name)) = (&value, self.old.named_expressions.get(&old))
            && !self.kinds.is_const(*handle)
        {
            self.new.named_expressions.entry(*handle).or_insert_with(|| name.clone());
        }
        self.values.insert(old, value);
        Ok(())
    }

    fn statements<'b>(&mut self, mut statements: impl Iterator<Item = (&'b Statement, &'b Span)>) -> Result<()> {
        statements.try_for_each(|(statement, span)| self.statement(statement, *span))
    }

    fn nested(&mut self, block: &Block) -> Result<Block> {
        self.flush();
        let outer = std::mem::take(&mut self.block);
        let walked = self.statements(block.span_iter());
        self.flush();
        let inner = std::mem::replace(&mut self.block, outer);
        walked.map(|()| inner)
    }

    /// Rewrites a block that may be skipped: values known before the block are known after it.
    fn branch(&mut self, block: &Block) -> Result<Block> {
        let before = self.known.clone();
        let walked = self.nested(block);
        self.known = before;
        walked
    }

    /// Rewrites a statement that controls which others run; the others are left to [`Rewriter::leaf`].
    fn statement(&mut self, statement: &Statement, span: Span) -> Result<()> {
        match statement {
            Statement::Emit(range) => {
                for handle in range.clone() {
                    self.expression(handle)?;
                }
                self.flush();
            }
            Statement::Block(block) => self.statements(block.span_iter())?,
            Statement::If { condition, accept, reject } => {
                let condition = self.operand(*condition)?;
                match self.literal(condition) {
                    Some(Literal::Bool(true)) => self.statements(accept.span_iter())?,
                    Some(Literal::Bool(false)) => self.statements(reject.span_iter())?,
                    _ => {
                        let (accept, reject) = (self.branch(accept)?, self.branch(reject)?);
                        self.forget(statement);
                        self.push(Statement::If { condition, accept, reject }, span);
                    }
                }
            }
            Statement::Switch { selector, cases } => {
                let selector = self.operand(*selector)?;
                if let Some(case) = self.literal(selector).and_then(|literal| taken(self.module, literal, cases)) {
                    return self.statements(case.body.span_iter());
                }
                self.forget(statement);
                let cases = cases.iter().map(|case| Ok(SwitchCase { body: self.branch(&case.body)?, ..*case }));
                let cases = cases.collect::<Result<_>>()?;
                self.push(Statement::Switch { selector, cases }, span);
            }
            Statement::Loop { body, continuing, break_if } => {
                if let Some((trips, guard)) = self.trips(body, continuing, *break_if)? {
                    for _ in 0..trips {
                        self.statements(body.span_iter().take(guard))?;
                        self.statements(body.span_iter().skip(guard + 1))?;
                        self.statements(continuing.span_iter())?;
                    }
                    return Ok(());
                }
                self.forget(statement);
                let body = self.nested(body)?;
                self.forget(statement);
                let continuing = self.nested(continuing)?;
                let break_if = break_if.map(|condition| self.operand(condition)).transpose()?;
                self.forget(statement);
                self.push(Statement::Loop { body, continuing, break_if }, span);
            }
            _ => self.leaf(statement, span)?,
        }
        Ok(())
    }

    /// Rewrites a statement without nested blocks.
    fn leaf(&mut self, statement: &Statement, span: Span) -> Result<()> {
        match statement {
            Statement::Return { value } => {
                let value = value.map(|value| self.operand(value)).transpose()?;
                self.push(Statement::Return { value }, span);
            }
            Statement::Break
            | Statement::Continue
            | Statement::Kill
            | Statement::ControlBarrier(_)
            | Statement::MemoryBarrier(_) => self.push(statement.clone(), span),
            Statement::Store { pointer, value } => {
                let value = self.operand(*value)?;
                let place = self.value(*pointer)?;
                self.store(&place, value, span);
            }
            Statement::Call { function, arguments, result } => {
                let arguments = arguments.iter().map(|argument| self.operand(*argument)).collect::<Result<_>>()?;
                self.forget(statement);
                let result = result.map(|result| self.result(result));
                self.push(Statement::Call { function: *function, arguments, result }, span);
            }
            Statement::SubgroupGather { mode, argument, result } => {
                let mut mode = *mode;
                match &mut mode {
                    GatherMode::BroadcastFirst | GatherMode::QuadSwap(_) => {}
                    GatherMode::Broadcast(lane)
                    | GatherMode::Shuffle(lane)
                    | GatherMode::ShuffleDown(lane)
                    | GatherMode::ShuffleUp(lane)
                    | GatherMode::ShuffleXor(lane)
                    | GatherMode::QuadBroadcast(lane) => *lane = self.operand(*lane)?,
                }
                let argument = self.operand(*argument)?;
                let result = self.result(*result);
                self.push(Statement::SubgroupGather { mode, argument, result }, span);
            }
            Statement::SubgroupCollectiveOperation { op, collective_op, argument, result } => {
                let (op, collective_op, argument) = (*op, *collective_op, self.operand(*argument)?);
                let result = self.result(*result);
                self.push(Statement::SubgroupCollectiveOperation { op, collective_op, argument, result }, span);
            }
            _ => return Err(Refusal::Unknown),
        }
        Ok(())
    }

    /// The number of trips of a loop, and the index of the exit condition in its body. `None` where the number does not
    /// follow from constants, or where another statement can end the loop.
    fn trips(
        &mut self,
        body: &Block,
        continuing: &Block,
        break_if: Option<Handle<Expression>>,
    ) -> Result<Option<(usize, usize)>> {
        let Some(guard) = body.iter().position(|statement| !matches!(statement, Statement::Emit(_))) else {
            return Ok(None);
        };
        let Statement::If { condition, accept, reject } = &body[guard] else { return Ok(None) };
        let is_guard = accept.is_empty() && matches!(reject[..], [Statement::Break]);
        if !is_guard || break_if.is_some() || body[guard + 1..].iter().any(|statement| stays(self.module, statement)) {
            return Ok(None);
        }
        // Only the condition and the counter's step are evaluated, and the results are discarded.
        self.flush();
        let (known, values) = (self.known.clone(), self.values.clone());
        let outer = std::mem::take(&mut self.block);
        let mut trips = None;
        for trip in 0..=TRIPS {
            body[guard + 1..].iter().for_each(|statement| self.forget(statement));
            self.statements(body.span_iter().take(guard))?;
            let condition = self.one(*condition)?;
            match self.literal(condition) {
                Some(Literal::Bool(true)) => self.statements(continuing.span_iter())?,
                Some(Literal::Bool(false)) => {
                    trips = Some((trip, guard));
                    break;
                }
                _ => break,
            }
        }
        self.flush();
        (self.known, self.values, self.block) = (known, values, outer);
        Ok(trips)
    }

    /// Forgets the values of variables that a statement may change.
    fn forget(&mut self, statement: &Statement) {
        let changed: &[Handle<Expression>] = match statement {
            Statement::Store { pointer, .. } => &[*pointer],
            Statement::Call { arguments, .. } => arguments,
            _ => {
                let nested = blocks!(statement, iter).into_iter().flat_map(|block| block.iter());
                return nested.for_each(|statement| self.forget(statement));
            }
        };
        for variable in changed.iter().filter_map(|pointer| root(self.old, *pointer)) {
            if let Some(value) = self.variables.get(&variable) {
                forget_value(value, &self.new, &mut self.known);
            }
        }
    }

    /// A block without stores to variables that are never read, such as the counters of unrolled loops.
    fn pruned(&self, block: Block) -> Block {
        let mut result = Block::with_capacity(block.len());
        for (mut statement, span) in block.span_into_iter() {
            if let Statement::Store { pointer, .. } = statement
                && root(&self.new, pointer).is_some_and(|variable| !self.read.contains(&variable))
            {
                continue;
            }
            for block in blocks!(&mut statement, iter_mut) {
                *block = self.pruned(std::mem::take(block));
            }
            result.push(statement, span);
        }
        result
    }
}

fn forget_value(value: &Value, new: &Function, known: &mut HashMap<Handle<LocalVariable>, Handle<Expression>>) {
    match value {
        Value::One(pointer) => {
            if let Expression::LocalVariable(variable) = new.expressions[*pointer] {
                known.remove(&variable);
            }
        }
        Value::Many(_, parts) => parts.iter().for_each(|part| forget_value(part, new, known)),
    }
}

/// The number of variables that an array is split into; `None` for other types.
fn leaves(module: &Module, ty: Handle<Type>) -> Option<u32> {
    match module.types[ty].inner {
        TypeInner::Array { base, size: ArraySize::Constant(count), .. } => {
            leaves(module, base).unwrap_or(1).checked_mul(count.get())
        }
        _ => None,
    }
}

/// The local variable that a pointer leads into.
fn root(function: &Function, pointer: Handle<Expression>) -> Option<Handle<LocalVariable>> {
    match function.expressions[pointer] {
        Expression::LocalVariable(variable) => Some(variable),
        Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => root(function, base),
        _ => None,
    }
}

/// Whether a loop with this statement in its body stays a loop: the statement may leave the loop, or has a barrier,
/// whose cost makes unrolling worthless.
fn stays(module: &Module, statement: &Statement) -> bool {
    match statement {
        Statement::Break | Statement::Continue => true,
        // A break or continue in an inner loop concerns only that loop.
        Statement::Loop { body, continuing, .. } => has_barrier(module, body) || has_barrier(module, continuing),
        _ if is_barrier(module, statement) => true,
        _ => blocks!(statement, iter).into_iter().any(|block| block.iter().any(|statement| stays(module, statement))),
    }
}

fn has_barrier(module: &Module, block: &Block) -> bool {
    block.iter().any(|statement| {
        is_barrier(module, statement) || blocks!(statement, iter).into_iter().any(|block| has_barrier(module, block))
    })
}

fn is_barrier(module: &Module, statement: &Statement) -> bool {
    match statement {
        Statement::ControlBarrier(_) | Statement::MemoryBarrier(_) => true,
        Statement::Call { function, .. } => has_barrier(module, &module.functions[*function].body),
        _ => false,
    }
}

/// The case that a known selector takes; `None` where a statement of the case may leave it before its end.
fn taken<'a>(module: &Module, selector: Literal, cases: &'a [SwitchCase]) -> Option<&'a SwitchCase> {
    let value = match selector {
        Literal::I32(value) => SwitchValue::I32(value),
        Literal::U32(value) => SwitchValue::U32(value),
        _ => return None,
    };
    let named = cases.iter().find(|case| case.value == value);
    let case = named.or_else(|| cases.iter().find(|case| case.value == SwitchValue::Default))?;
    (!case.fall_through && !case.body.iter().any(|statement| stays(module, statement))).then_some(case)
}

/// The operands of an expression; fails for kinds of expressions that are rewritten elsewhere or unknown.
fn operands(expression: &mut Expression) -> Result<Vec<&mut Handle<Expression>>> {
    Ok(match expression {
        Expression::Literal(_) | Expression::Constant(_) | Expression::ZeroValue(_) => vec![],
        Expression::Compose { components, .. } => components.iter_mut().collect(),
        Expression::Access { base, index } => vec![base, index],
        Expression::Splat { value, .. } => vec![value],
        Expression::Swizzle { vector, .. } => vec![vector],
        Expression::Unary { expr, .. } | Expression::As { expr, .. } => vec![expr],
        Expression::Binary { left, right, .. } => vec![left, right],
        Expression::Select { condition, accept, reject } => vec![condition, accept, reject],
        Expression::Relational { argument, .. } => vec![argument],
        Expression::Math { arg, arg1, arg2, arg3, .. } => {
            [Some(arg), arg1.as_mut(), arg2.as_mut(), arg3.as_mut()].into_iter().flatten().collect()
        }
        Expression::ArrayLength(pointer) => vec![pointer],
        _ => return Err(Refusal::Unknown),
    })
}
