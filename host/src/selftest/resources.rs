//! Components with resources of their own, made by hand: three in one, of which one lends another what it
//! got from the third.
//!
//! ```text
//! provider   resource r, with a destructor;  make: () -> own<r>
//! keeper     keep: (borrow<r>)               what it does with what it was lent is up to the case
//! driver     run: make one, lend it, drop it
//! ```

use wasm_encoder::{
    BlockType, CodeSection, ComponentBuilder, ComponentExportKind, ComponentExportSection,
    ComponentInstanceSection, ComponentSection as _, ComponentTypeRef, ComponentValType,
    EntityType, ExportKind, ExportSection, Function, FunctionSection, ImportSection, Instruction,
    Module, ModuleArg, TypeBounds, TypeSection, ValType,
};

/// What the keeper does with a handle it was lent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeper {
    /// Gives it back, as it has to.
    GivesBack,
    /// Keeps it beyond the call.
    Keeps,
    /// Goes on using it after it gave it back.
    UsesAfter,
}

/// What the destructor does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Destructor {
    /// Nothing.
    Returns,
    /// Never returns.
    Loops,
    /// Traps.
    Traps,
}

/// A component that exports `wasi:cli/run`.
pub(super) fn component(keeper: Keeper, destructor: Destructor) -> Vec<u8> {
    use ComponentExportKind::{Func, Instance, Type};

    let mut root = ComponentBuilder::default();
    let provider = root.component(None, provider(destructor));
    let keeper = root.component(None, self::keeper(keeper));
    let driver = root.component(None, driver());
    let none: [(&str, ComponentExportKind, u32); 0] = [];
    let provider = root.instantiate(None, provider, none);
    let resource = root.alias_export(provider, "r", Type);
    let make = root.alias_export(provider, "make", Func);
    let keeper = root.instantiate(None, keeper, [("r", Type, resource)]);
    let keep = root.alias_export(keeper, "keep", Func);
    let given = [
        ("r", Type, resource),
        ("make", Func, make),
        ("keep", Func, keep),
    ];
    let driver = root.instantiate(None, driver, given);
    let run = root.alias_export(driver, "run", Func);
    let exported = root.instance_count();

    let mut bytes = root.finish();
    let mut instances = ComponentInstanceSection::new();
    instances.export_items([("run", Func, run)]);
    instances.append_to_component(&mut bytes);
    let mut exports = ComponentExportSection::new();
    exports.export("wasi:cli/run@0.2.0", Instance, exported, None);
    exports.append_to_component(&mut bytes);
    bytes
}

/// Beside the others and not around them: a component cannot call into one it contains.
fn driver() -> ComponentBuilder {
    let mut driver = ComponentBuilder::default();
    let bound = ComponentTypeRef::Type(TypeBounds::SubResource);
    let resource = driver.import("r", bound);
    let make = make_type(&mut driver, resource);
    let make = driver.import("make", ComponentTypeRef::Func(make));
    let keep = keep_type(&mut driver, resource);
    let keep = driver.import("keep", ComponentTypeRef::Func(keep));
    let imports = [
        ("make", driver.lower_func(None, make, [])),
        ("keep", driver.lower_func(None, keep, [])),
        ("drop", driver.resource_drop(resource)),
    ];
    let body = [
        Instruction::Call(0),
        Instruction::LocalTee(0),
        Instruction::Call(1),
        Instruction::LocalGet(0),
        Instruction::Call(2),
        // Success.
        Instruction::I32Const(0),
    ];
    let run = core(&imports.map(|(name, _)| name), "run", &body);
    let run = instantiated(&mut driver, &run, &imports, "run");
    let (result, ty) = driver.type_defined(None);
    ty.result(None, None);
    let (run_type, mut ty) = driver.type_function(None);
    ty.params([] as [(&str, ComponentValType); 0])
        .result(Some(ComponentValType::Type(result)));
    let run = driver.lift_func(None, run, run_type, []);
    driver.export("run", ComponentExportKind::Func, run, None);
    driver
}

/// `() -> own<r>`.
fn make_type(builder: &mut ComponentBuilder, resource: u32) -> u32 {
    let (own, ty) = builder.type_defined(None);
    ty.own(resource);
    let (make, mut ty) = builder.type_function(None);
    ty.params([] as [(&str, ComponentValType); 0])
        .result(Some(ComponentValType::Type(own)));
    make
}

/// `(borrow<r>)`.
fn keep_type(builder: &mut ComponentBuilder, resource: u32) -> u32 {
    let (borrow, ty) = builder.type_defined(None);
    ty.borrow(resource);
    let (keep, mut ty) = builder.type_function(None);
    ty.params([("lent", ComponentValType::Type(borrow))])
        .result(None);
    keep
}

fn provider(destructor: Destructor) -> ComponentBuilder {
    let mut provider = ComponentBuilder::default();
    let body: &[Instruction<'_>] = match destructor {
        Destructor::Returns => &[],
        Destructor::Loops => &[
            Instruction::Loop(BlockType::Empty),
            Instruction::Br(0),
            Instruction::End,
        ],
        Destructor::Traps => &[Instruction::Unreachable],
    };
    let module = core(&[], "dtor", body);
    let destructor = instantiated(&mut provider, &module, &[], "dtor");
    let resource = provider.type_resource(None, ValType::I32, Some(destructor));
    let imports = [("new", provider.resource_new(resource))];
    let body = [Instruction::I32Const(7), Instruction::Call(0)];
    let make = core(&["new"], "make", &body);
    let make = instantiated(&mut provider, &make, &imports, "make");
    let exported = provider.export("r", ComponentExportKind::Type, resource, None);
    let make_type = make_type(&mut provider, exported);
    let make = provider.lift_func(None, make, make_type, []);
    provider.export("make", ComponentExportKind::Func, make, None);
    provider
}

fn keeper(does: Keeper) -> ComponentBuilder {
    let mut keeper = ComponentBuilder::default();
    let bound = ComponentTypeRef::Type(TypeBounds::SubResource);
    let resource = keeper.import("r", bound);
    let imports = [("drop", keeper.resource_drop(resource))];
    let give_back = [Instruction::LocalGet(0), Instruction::Call(0)];
    let body = match does {
        Keeper::GivesBack => give_back.to_vec(),
        Keeper::Keeps => Vec::new(),
        Keeper::UsesAfter => [give_back.clone(), give_back].concat(),
    };
    let module = core(&["drop"], "keep", &body);
    let keep = instantiated(&mut keeper, &module, &imports, "keep");
    let keep_type = keep_type(&mut keeper, resource);
    let keep = keeper.lift_func(None, keep, keep_type, []);
    keeper.export("keep", ComponentExportKind::Func, keep, None);
    keeper
}

/// A core module that exports one function, and imports others by name. What each takes and gives is known
/// by its name.
fn core(imports: &[&str], export: &str, body: &[Instruction<'_>]) -> Module {
    const GIVES: u32 = 0;
    const TAKES: u32 = 1;
    const TURNS: u32 = 2;
    let mut types = TypeSection::new();
    types.ty().function([], [ValType::I32]);
    types.ty().function([ValType::I32], []);
    types.ty().function([ValType::I32], [ValType::I32]);
    let type_of = |name: &str| match name {
        "make" | "run" => GIVES,
        "new" => TURNS,
        _ => TAKES,
    };
    let mut imported = ImportSection::new();
    for name in imports {
        imported.import("", name, EntityType::Function(type_of(name)));
    }
    let mut functions = FunctionSection::new();
    functions.function(type_of(export));
    let mut exports = ExportSection::new();
    let index = u32::try_from(imports.len()).unwrap_or(u32::MAX);
    exports.export(export, ExportKind::Func, index);
    // Room for a handle, where there is no parameter for it.
    let locals = (type_of(export) == GIVES).then_some((1, ValType::I32));
    let mut function = Function::new(locals);
    for instruction in body {
        function.instruction(instruction);
    }
    function.instruction(&Instruction::End);
    let mut code = CodeSection::new();
    code.function(&function);
    let mut module = Module::new();
    module
        .section(&types)
        .section(&imported)
        .section(&functions)
        .section(&exports)
        .section(&code);
    module
}

/// Instantiates a core module; its export.
fn instantiated(
    builder: &mut ComponentBuilder,
    module: &Module,
    imports: &[(&str, u32)],
    export: &str,
) -> u32 {
    let module = builder.core_module(None, module);
    let instance = if imports.is_empty() {
        builder.core_instantiate(None, module, [])
    } else {
        let items: Vec<_> = imports
            .iter()
            .map(|(name, index)| (*name, ExportKind::Func, *index))
            .collect();
        let given = builder.core_instantiate_exports(None, items);
        builder.core_instantiate(None, module, [("", ModuleArg::Instance(given))])
    };
    builder.core_alias_export(None, instance, export, ExportKind::Func)
}
