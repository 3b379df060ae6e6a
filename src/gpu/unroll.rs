//! The naga pass: rewrites readable tiles into the form that drivers' compilers handle well.
//!
//! Loops whose few trips are known are unrolled, and local arrays that are then indexed by constants alone become a variable
//! for each element: registers. Metal's and DX12's compilers see loops that naga wraps beyond their analysis, and put arrays
//! that they cannot unroll into memory.
//!
//! A function is rewritten in one walk over its statements, in which everything that follows from constants is replaced by
//! its value (naga's own evaluator does that), the counter of a loop being a constant in each of its copies.

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

/// Unrolls loops and splits arrays in every function of a module. Constructs that it does not support stay unchanged.
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
            // An array turns out to be indexed by what only the device knows: again, with it in one piece.
            Err(Refusal::Indexed(variable)) if whole.insert(variable) => {}
            Err(_) => return old,
        }
    }
}

/// Why a function cannot be rewritten.
enum Refusal {
    /// A split variable is used as a whole.
    Indexed(Handle<LocalVariable>),
    /// An expression or statement that none of Pinhole's shaders has.
    Unknown,
}

type Result<T> = std::result::Result<T, Refusal>;

/// The rewritten form of an expression.
#[derive(Clone)]
enum Value {
    One(Handle<Expression>),
    /// A pointer to a variable, or a part of one, that was split: its type, and pointers to its elements.
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
    /// The block that statements are added to.
    block: Block,
    /// The rewritten form of each expression of the old function, at the walk's place.
    values: HashMap<Handle<Expression>, Value>,
    /// The rewritten form of the old function's variables.
    variables: HashMap<Handle<LocalVariable>, Value>,
    /// New variables that hold a literal there.
    known: HashMap<Handle<LocalVariable>, Handle<Expression>>,
    /// New variables that are read anywhere.
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

    /// The value of a constant expression, which may stand before everything else.
    fn constant(&mut self, old: Handle<Expression>) -> Result<Handle<Expression>> {
        // Its operands stand before it.
        for (handle, _) in self.old.expressions.iter().take_while(|(handle, _)| *handle <= old) {
            if handle == old || !self.values.contains_key(&handle) {
                let is_constant = matches!(
                    self.old.expressions[handle],
                    Expression::Literal(_)
                        | Expression::Constant(_)
                        | Expression::ZeroValue(_)
                        | Expression::Compose { .. }
                        | Expression::Splat { .. }
                );
                if is_constant {
                    let _ = self.expression(handle);
                }
            }
        }
        self.one(old)
    }

    /// A variable, or one for each element of an array, with what it starts from.
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

    /// Adds an expression to the new function, or what it is known to be.
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
            // Such as a difference below zero where the code is never reached: left to run time.
            let handle = self.new.expressions.append(expression, span);
            self.kinds.insert(handle, ExpressionKind::Runtime);
            handle
        })
    }

    /// Adds the rewritten statement.
    fn result(&mut self, old: Handle<Expression>, expression: Expression) -> Handle<Expression> {
        self.flush();
        let _ = self.emitter.finish(&self.new.expressions);
        let handle = self.new.expressions.append(expression, self.old.expressions.get_span(old));
        self.kinds.insert(handle, ExpressionKind::Runtime);
        self.emitter.start(&self.new.expressions);
        self.values.insert(old, Value::One(handle));
        handle
    }

    /// Has the expressions so far computed here.
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

    /// The rewritten form of an expression that must not be a split variable.
    fn one(&mut self, old: Handle<Expression>) -> Result<Handle<Expression>> {
        match self.value(old)? {
            Value::One(handle) => Ok(handle),
            Value::Many(..) => Err(root(self.old, old).map_or(Refusal::Unknown, Refusal::Indexed)),
        }
    }

    /// As [`Rewriter::one`], for a use that may read through it.
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
                // All of the value is computed before any of it is left.
                let elements: Vec<_> =
                    (0..).map(|index| Expression::AccessIndex { base: value, index }).take(parts.len()).collect();
                let elements: Vec<_> = elements.into_iter().map(|element| self.append(element, span)).collect();
                for (part, element) in parts.iter().zip(elements) {
                    self.store(part, element, span);
                }
            }
        }
    }

    /// An expression at the place where it is computed.
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

    fn statements<'b>(&mut self, statements: impl Iterator<Item = (&'b Statement, &'b Span)>) -> Result<()> {
        for (statement, span) in statements {
            self.statement(statement, *span)?;
        }
        Ok(())
    }

    fn nested(&mut self, block: &Block) -> Result<Block> {
        self.flush();
        let outer = std::mem::take(&mut self.block);
        let walked = self.statements(block.span_iter());
        self.flush();
        let inner = std::mem::replace(&mut self.block, outer);
        walked.map(|()| inner)
    }

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
                        let before = self.known.clone();
                        let taken = self.nested(accept)?;
                        self.known.clone_from(&before);
                        let other = self.nested(reject)?;
                        self.known = before;
                        self.forget(accept);
                        self.forget(reject);
                        self.push(Statement::If { condition, accept: taken, reject: other }, span);
                    }
                }
            }
            Statement::Switch { selector, cases } => {
                let selector = self.operand(*selector)?;
                if let Some(case) = self.literal(selector).and_then(|literal| taken(self.module, literal, cases)) {
                    return self.statements(case.body.span_iter());
                }
                cases.iter().for_each(|case| self.forget(&case.body));
                let before = self.known.clone();
                let mut walked = Vec::with_capacity(cases.len());
                for case in cases {
                    self.known.clone_from(&before);
                    let body = self.nested(&case.body)?;
                    walked.push(SwitchCase { value: case.value, body, fall_through: case.fall_through });
                }
                self.known = before;
                self.push(Statement::Switch { selector, cases: walked }, span);
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
                let changes = |rewriter: &mut Self| {
                    rewriter.forget(body);
                    rewriter.forget(continuing);
                };
                changes(self);
                let walked = self.nested(body)?;
                changes(self);
                let after = self.nested(continuing)?;
                let break_if = break_if.map(|condition| self.operand(condition)).transpose()?;
                changes(self);
                self.push(Statement::Loop { body: walked, continuing: after, break_if }, span);
            }
            Statement::Return { value } => {
                let value = value.map(|value| self.operand(value)).transpose()?;
                self.push(Statement::Return { value }, span);
            }
            Statement::Break | Statement::Continue | Statement::Kill => self.push(statement.clone(), span),
            Statement::ControlBarrier(_) | Statement::MemoryBarrier(_) => self.push(statement.clone(), span),
            Statement::Store { pointer, value } => {
                let value = self.operand(*value)?;
                let place = self.value(*pointer)?;
                self.store(&place, value, span);
            }
            Statement::Call { function, arguments, result } => {
                let arguments = arguments.iter().map(|argument| self.operand(*argument)).collect::<Result<_>>()?;
                self.forget_statement(statement);
                let result = result.map(|result| self.result(result, Expression::CallResult(*function)));
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
                let result = self.result(*result, self.old.expressions[*result].clone());
                self.push(Statement::SubgroupGather { mode, argument, result }, span);
            }
            Statement::SubgroupCollectiveOperation { op, collective_op, argument, result } => {
                let (op, collective_op, argument) = (*op, *collective_op, self.operand(*argument)?);
                let result = self.result(*result, self.old.expressions[*result].clone());
                self.push(Statement::SubgroupCollectiveOperation { op, collective_op, argument, result }, span);
            }
            _ => return Err(Refusal::Unknown),
        }
        Ok(())
    }

    /// Trips of a loop and the index of its exit condition in the body, where trips follow from constants and nothing
    /// else can end the loop.
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
        // Only the condition and the step are evaluated, and the results are discarded.
        self.flush();
        let (known, values) = (self.known.clone(), self.values.clone());
        let outer = std::mem::take(&mut self.block);
        let mut trips = None;
        for trip in 0..=TRIPS {
            body[guard + 1..].iter().for_each(|statement| self.forget_statement(statement));
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

    /// Forgets the values of variables that a block may change.
    fn forget(&mut self, block: &Block) {
        block.iter().for_each(|statement| self.forget_statement(statement));
    }

    fn forget_statement(&mut self, statement: &Statement) {
        let changed: &[Handle<Expression>] = match statement {
            Statement::Store { pointer, .. } => &[*pointer],
            Statement::Call { arguments, .. } => arguments,
            _ => {
                return blocks(statement).into_iter().for_each(|block| self.forget(block));
            }
        };
        for variable in changed.iter().filter_map(|pointer| root(self.old, *pointer)) {
            if let Some(value) = self.variables.get(&variable) {
                forget_value(value, &self.new, &mut self.known);
            }
        }
    }

    /// A block without stores to variables that nothing reads, such as counters of loops that are none any more.
    fn pruned(&self, block: Block) -> Block {
        let mut result = Block::with_capacity(block.len());
        for (mut statement, span) in block.span_into_iter() {
            if let Statement::Store { pointer, .. } = statement
                && root(&self.new, pointer).is_some_and(|variable| !self.read.contains(&variable))
            {
                continue;
            }
            for block in blocks_mut(&mut statement) {
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

/// The variables that an array is split into; none where it is no array.
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

/// Whether a loop with this statement in its body stays a loop: it may leave it, or meets others at a barrier, and then takes
/// long enough.
fn stays(module: &Module, statement: &Statement) -> bool {
    match statement {
        Statement::Break | Statement::Continue => true,
        // A break or continue in these loops concerns them alone.
        Statement::Loop { body, continuing, .. } => has_barrier(module, body) || has_barrier(module, continuing),
        _ if is_barrier(module, statement) => true,
        _ => blocks(statement).into_iter().any(|block| block.iter().any(|statement| stays(module, statement))),
    }
}

fn has_barrier(module: &Module, block: &Block) -> bool {
    block.iter().any(|statement| {
        is_barrier(module, statement) || blocks(statement).into_iter().any(|block| has_barrier(module, block))
    })
}

fn is_barrier(module: &Module, statement: &Statement) -> bool {
    match statement {
        Statement::ControlBarrier(_) | Statement::MemoryBarrier(_) => true,
        Statement::Call { function, .. } => has_barrier(module, &module.functions[*function].body),
        _ => false,
    }
}

/// The case that a known selector takes, where nothing but its end leaves it.
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

/// The nested blocks of a statement.
fn blocks(statement: &Statement) -> Vec<&Block> {
    match statement {
        Statement::Block(block) => vec![block],
        Statement::If { accept, reject, .. } => vec![accept, reject],
        Statement::Switch { cases, .. } => cases.iter().map(|case| &case.body).collect(),
        Statement::Loop { body, continuing, .. } => vec![body, continuing],
        _ => vec![],
    }
}

fn blocks_mut(statement: &mut Statement) -> Vec<&mut Block> {
    match statement {
        Statement::Block(block) => vec![block],
        Statement::If { accept, reject, .. } => vec![accept, reject],
        Statement::Switch { cases, .. } => cases.iter_mut().map(|case| &mut case.body).collect(),
        Statement::Loop { body, continuing, .. } => vec![body, continuing],
        _ => vec![],
    }
}

/// The operands of an expression that is not about pointers to local variables.
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
