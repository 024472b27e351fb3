//! Components made by hand, for the tests of this room.

use std::borrow::Cow;

use wasm_encoder::{
    Alias, CodeSection, Component, ComponentAliasSection, ComponentExportKind,
    ComponentExportSection, ComponentImportSection, ComponentInstanceSection, ComponentTypeRef,
    ComponentTypeSection, CustomSection, ExportKind, ExportSection, Function, FunctionSection,
    InstanceSection, InstanceType, Instruction, Module, ModuleArg, ModuleSection, TypeSection,
};

/// A core module that exports one function `f` without parameters or results.
pub(crate) fn module() -> Module {
    core_module(&[Instruction::End])
}

fn core_module(body: &[Instruction<'_>]) -> Module {
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut exports = ExportSection::new();
    exports.export("f", ExportKind::Func, 0);
    let mut code = CodeSection::new();
    let mut function = Function::new([]);
    for instruction in body {
        function.instruction(instruction);
    }
    code.function(&function);
    let mut module = Module::new();
    module
        .section(&types)
        .section(&functions)
        .section(&exports)
        .section(&code);
    module
}

/// A component that imports `imports`, interfaces of one function, and exports functions named `functions`.
pub(crate) fn component(imports: &[&str], functions: &[&str]) -> Vec<u8> {
    let mut interface = InstanceType::new();
    let no_parameters = [] as [(&str, wasm_encoder::ComponentValType); 0];
    interface.ty().function().params(no_parameters).result(None);
    interface.export("f", ComponentTypeRef::Func(0));
    build(imports, &interface, functions, &module())
}

/// An agent that imports `name`, an interface of one type, and that type as `t` beside it.
pub(crate) fn importing_types(name: &str) -> Vec<u8> {
    use wasm_encoder::ComponentSection as _;
    let mut interface = InstanceType::new();
    interface.ty().defined_type().enum_type(["a"]);
    interface.export("t", ComponentTypeRef::Type(wasm_encoder::TypeBounds::Eq(0)));
    let mut bytes = build(&[name], &interface, &["describe", "run"], &module());
    let mut aliases = ComponentAliasSection::new();
    aliases.alias(Alias::InstanceExport {
        instance: 0,
        kind: ComponentExportKind::Type,
        name: "t",
    });
    aliases.append_to_component(&mut bytes);
    let mut imports = ComponentImportSection::new();
    let same = wasm_encoder::TypeBounds::Eq(2);
    imports.import("t", ComponentTypeRef::Type(same));
    imports.append_to_component(&mut bytes);
    bytes
}

fn build(
    imports: &[&str],
    interface: &InstanceType,
    functions: &[&str],
    module: &Module,
) -> Vec<u8> {
    let mut component = Component::new();
    component.section(&ModuleSection(module));

    let mut instances = InstanceSection::new();
    instances.instantiate(0, [] as [(&str, ModuleArg); 0]);
    component.section(&instances);

    let mut aliases = ComponentAliasSection::new();
    aliases.alias(Alias::CoreInstanceExport {
        instance: 0,
        kind: ExportKind::Func,
        name: "f",
    });
    component.section(&aliases);

    let mut types = ComponentTypeSection::new();
    types
        .function()
        .params([] as [(&str, wasm_encoder::ComponentValType); 0])
        .result(None);
    types.instance(interface);
    component.section(&types);

    let mut section = ComponentImportSection::new();
    for name in imports {
        section.import(*name, ComponentTypeRef::Instance(1));
    }
    component.section(&section);

    let mut lifted = wasm_encoder::CanonicalFunctionSection::new();
    lifted.lift(0, 0, []);
    component.section(&lifted);

    let mut exports = ComponentExportSection::new();
    for name in functions {
        exports.export(*name, ComponentExportKind::Func, 0, None);
    }
    component.section(&exports);
    component.finish()
}

/// The smallest component with the outline of an agent. Its functions have the wrong types: it can be
/// opened and compiled, not run.
pub(crate) fn agent() -> Vec<u8> {
    component(&[], &["describe", "run"])
}

/// An agent whose outline is good and whose code is not valid.
pub(crate) fn invalid_agent() -> Vec<u8> {
    let broken = core_module(&[Instruction::I32Add, Instruction::End]);
    build(&[], &InstanceType::new(), &["describe", "run"], &broken)
}

/// A component that exports an empty instance under `name`.
pub(crate) fn exporting_instance(name: &str) -> Vec<u8> {
    let mut component = Component::new();
    let mut instances = ComponentInstanceSection::new();
    instances.export_items([] as [(&str, ComponentExportKind, u32); 0]);
    component.section(&instances);
    let mut exports = ComponentExportSection::new();
    exports.export(name, ComponentExportKind::Instance, 0, None);
    component.section(&exports);
    component.finish()
}

/// `component` with a type at its end that is an instance type in an instance type, `levels` deep.
pub(crate) fn with_nested_types(mut component: Vec<u8>, levels: usize) -> Vec<u8> {
    use wasm_encoder::{ComponentSectionId, Encode as _};
    // One type: an instance type with one declaration, which is a type, and so on to one without any.
    let mut types = vec![1_u8];
    types.extend([0x42, 1, 1].repeat(levels));
    types.extend([0x42, 0]);
    component.push(ComponentSectionId::Type.into());
    types.encode(&mut component);
    component
}

/// An agent with `component` nested in it.
pub(crate) fn wrapping(component: &[u8]) -> Vec<u8> {
    use wasm_encoder::{ComponentSectionId, Encode as _};
    let mut outer = agent();
    outer.push(ComponentSectionId::Component.into());
    component.encode(&mut outer);
    outer
}

/// `component` with a custom section at its end.
pub(crate) fn with_section(mut component: Vec<u8>, name: &str, data: &[u8]) -> Vec<u8> {
    use wasm_encoder::{ComponentSection as _, Encode as _};
    let section = CustomSection {
        name: Cow::Borrowed(name),
        data: Cow::Borrowed(data),
    };
    component.push(section.id());
    section.encode(&mut component);
    component
}
