//! Components made by hand, for what no compiler of agents would make.

use wasm_encoder::{
    Alias, CanonicalFunctionSection, CodeSection, Component, ComponentAliasSection,
    ComponentExportKind, ComponentExportSection, ComponentImportSection, ComponentInstanceSection,
    ComponentSectionId, ComponentTypeRef, ComponentTypeSection, ComponentValType, Encode as _,
    ExportKind, ExportSection, Function, FunctionSection, HeapType, InstanceSection, InstanceType,
    Instruction, MemorySection, MemoryType, Module, ModuleArg, ModuleSection, RefType,
    StartSection, TableSection, TableType, TypeSection, ValType,
};

/// What a core module of a command has besides `run`.
#[derive(Default)]
pub(super) struct Parts {
    /// Pages of its memory.
    pub(super) memory: Option<u64>,
    /// Elements of its table.
    pub(super) table: Option<u64>,
    /// Whether its start function never returns.
    pub(super) endless_start: bool,
    /// Whether `run` grows the table, and fails when it could.
    pub(super) grow_table: Option<i32>,
    /// What `run` gives otherwise: 0 is success.
    pub(super) answer: i32,
}

/// A core module that exports `run`, a function that gives 0 for success and 1 for failure.
pub(super) fn module(parts: &Parts) -> Module {
    let mut types = TypeSection::new();
    types.ty().function([], [ValType::I32]);
    types.ty().function([], []);
    let mut functions = FunctionSection::new();
    functions.function(0).function(1);
    let mut exports = ExportSection::new();
    exports.export("run", ExportKind::Func, 0);

    let mut run = Function::new([]);
    match parts.grow_table {
        Some(by) => {
            run.instruction(&Instruction::RefNull(HeapType::FUNC));
            run.instruction(&Instruction::I32Const(by));
            run.instruction(&Instruction::TableGrow(0));
            run.instruction(&Instruction::I32Const(-1));
            run.instruction(&Instruction::I32Ne);
        }
        None => {
            run.instruction(&Instruction::I32Const(parts.answer));
        }
    }
    run.instruction(&Instruction::End);
    let mut start = Function::new([]);
    if parts.endless_start {
        start.instruction(&Instruction::Loop(wasm_encoder::BlockType::Empty));
        start.instruction(&Instruction::Br(0));
        start.instruction(&Instruction::End);
    }
    start.instruction(&Instruction::End);
    let mut code = CodeSection::new();
    code.function(&run).function(&start);

    let mut module = Module::new();
    module.section(&types).section(&functions);
    if let Some(minimum) = parts.table {
        let mut tables = TableSection::new();
        let element_type = RefType::FUNCREF;
        tables.table(TableType {
            element_type,
            table64: false,
            minimum,
            maximum: None,
            shared: false,
        });
        module.section(&tables);
    }
    if let Some(minimum) = parts.memory {
        let mut memories = MemorySection::new();
        memories.memory(MemoryType {
            minimum,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
        module.section(&memories);
    }
    module
        .section(&exports)
        .section(&StartSection { function_index: 1 })
        .section(&code);
    module
}

/// A component that exports `wasi:cli/run`, made of `instances` instances of a core module.
pub(super) fn command(module: &Module, instances: u32) -> Vec<u8> {
    let mut component = Component::new();
    component.section(&ModuleSection(module));
    let mut made = InstanceSection::new();
    for _ in 0..instances {
        made.instantiate(0, [] as [(&str, ModuleArg); 0]);
    }
    component.section(&made);
    finish_command(component)
}

/// Exports `run` of core instance 0 as `wasi:cli/run`.
fn finish_command(mut component: Component) -> Vec<u8> {
    let mut aliases = ComponentAliasSection::new();
    aliases.alias(Alias::CoreInstanceExport {
        instance: 0,
        kind: ExportKind::Func,
        name: "run",
    });
    component.section(&aliases);

    let mut types = ComponentTypeSection::new();
    types.defined_type().result(None, None);
    types
        .function()
        .params([] as [(&str, ComponentValType); 0])
        .result(Some(ComponentValType::Type(0)));
    component.section(&types);

    let mut lifted = CanonicalFunctionSection::new();
    lifted.lift(0, 1, []);
    component.section(&lifted);

    let mut instances = ComponentInstanceSection::new();
    instances.export_items([("run", ComponentExportKind::Func, 0)]);
    component.section(&instances);
    let mut exports = ComponentExportSection::new();
    exports.export("wasi:cli/run@0.2.0", ComponentExportKind::Instance, 0, None);
    component.section(&exports);
    component.finish()
}

/// A command that also imports `name`, an interface of one function.
pub(super) fn importing(name: &str) -> Vec<u8> {
    let mut component = Component::new();
    let mut interface = InstanceType::new();
    interface
        .ty()
        .function()
        .params([] as [(&str, ComponentValType); 0])
        .result(None);
    interface.export("exec", ComponentTypeRef::Func(0));
    let mut types = ComponentTypeSection::new();
    types.instance(&interface);
    component.section(&types);
    let mut imports = ComponentImportSection::new();
    imports.import(name, ComponentTypeRef::Instance(0));
    component.section(&imports);
    component.section(&ModuleSection(&module(&Parts::default())));
    let mut made = InstanceSection::new();
    made.instantiate(0, [] as [(&str, ModuleArg); 0]);
    component.section(&made);

    // As `finish_command`, with every index moved by what was imported.
    let mut aliases = ComponentAliasSection::new();
    aliases.alias(Alias::CoreInstanceExport {
        instance: 0,
        kind: ExportKind::Func,
        name: "run",
    });
    component.section(&aliases);
    let mut types = ComponentTypeSection::new();
    types.defined_type().result(None, None);
    types
        .function()
        .params([] as [(&str, ComponentValType); 0])
        .result(Some(ComponentValType::Type(1)));
    component.section(&types);
    let mut lifted = CanonicalFunctionSection::new();
    lifted.lift(0, 2, []);
    component.section(&lifted);
    let mut instances = ComponentInstanceSection::new();
    instances.export_items([("run", ComponentExportKind::Func, 0)]);
    component.section(&instances);
    let mut exports = ComponentExportSection::new();
    exports.export("wasi:cli/run@0.2.0", ComponentExportKind::Instance, 1, None);
    component.section(&exports);
    component.finish()
}

/// `component` with a type at its end that is an instance type in an instance type, `levels` deep.
pub(super) fn with_nested_types(mut component: Vec<u8>, levels: usize) -> Vec<u8> {
    // One type: an instance type with one declaration, which is a type, and so on to one without any.
    let mut types = vec![1_u8];
    types.extend([0x42, 1, 1].repeat(levels));
    types.extend([0x42, 0]);
    component.push(ComponentSectionId::Type.into());
    types.encode(&mut component);
    component
}

/// A component in a component, `levels` deep.
pub(super) fn nested(levels: usize) -> Vec<u8> {
    let mut inner = Component::new().finish();
    for _ in 0..levels {
        let mut outer = Component::new().finish();
        outer.push(ComponentSectionId::Component.into());
        inner.encode(&mut outer);
        inner = outer;
    }
    inner
}

/// A command with a function that is never called and takes the compiler seconds: a value for each of `locals`
/// has to be carried through each of `loops`.
pub(super) fn laborious(loops: u32, locals: u32) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([], [ValType::I32]);
    let mut functions = FunctionSection::new();
    functions.function(0).function(0);
    let mut exports = ExportSection::new();
    exports.export("run", ExportKind::Func, 0);
    let mut run = Function::new([]);
    run.instruction(&Instruction::I32Const(0));
    run.instruction(&Instruction::End);
    let mut work = Function::new([(locals, ValType::I32)]);
    for at in 0..loops {
        let (one, other) = (at % locals, (at * 7 + 1) % locals);
        work.instruction(&Instruction::Loop(wasm_encoder::BlockType::Empty));
        work.instruction(&Instruction::LocalGet(one));
        work.instruction(&Instruction::LocalGet(other));
        work.instruction(&Instruction::I32Add);
        work.instruction(&Instruction::LocalTee(one));
        work.instruction(&Instruction::BrIf(0));
    }
    for _ in 0..loops {
        work.instruction(&Instruction::End);
    }
    work.instruction(&Instruction::I32Const(0));
    for local in 0..locals {
        work.instruction(&Instruction::LocalGet(local));
        work.instruction(&Instruction::I32Add);
    }
    work.instruction(&Instruction::End);
    let mut code = CodeSection::new();
    code.function(&run).function(&work);
    let mut module = Module::new();
    module
        .section(&types)
        .section(&functions)
        .section(&exports)
        .section(&code);
    command(&module, 1)
}
