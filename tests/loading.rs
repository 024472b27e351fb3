//! Components that take the compiler longer than anybody wants to wait.

use rustix::process::Signal;
use wasm_encoder::{
    Alias, BlockType, CanonicalFunctionSection, CodeSection, Component, ComponentAliasSection,
    ComponentExportKind, ComponentExportSection, ComponentInstanceSection, ComponentTypeSection,
    ComponentValType, ExportKind, ExportSection, Function, FunctionSection, InstanceSection,
    Instruction, Module, ModuleArg, ModuleSection, TypeSection, ValType,
};

use crate::harness::{Lab, wait_for};

/// A command of 37 KB that the compiler works on for a quarter of a minute: it carries two thousand values
/// through two thousand loops.
fn laborious() -> Vec<u8> {
    const MANY: u32 = 2000;
    let mut types = TypeSection::new();
    types.ty().function([], [ValType::I32]);
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut exports = ExportSection::new();
    exports.export("run", ExportKind::Func, 0);
    let mut run = Function::new([(MANY, ValType::I32)]);
    for at in 0..MANY {
        run.instruction(&Instruction::Loop(BlockType::Empty));
        run.instruction(&Instruction::LocalGet(at));
        run.instruction(&Instruction::LocalGet((at * 7 + 1) % MANY));
        run.instruction(&Instruction::I32Add);
        run.instruction(&Instruction::LocalTee(at));
        run.instruction(&Instruction::BrIf(0));
    }
    for _ in 0..MANY {
        run.instruction(&Instruction::End);
    }
    run.instruction(&Instruction::I32Const(0));
    for at in 0..MANY {
        run.instruction(&Instruction::LocalGet(at));
        run.instruction(&Instruction::I32Add);
    }
    run.instruction(&Instruction::End);
    let mut code = CodeSection::new();
    code.function(&run);
    let mut module = Module::new();
    module
        .section(&types)
        .section(&functions)
        .section(&exports)
        .section(&code);

    let mut component = Component::new();
    component.section(&ModuleSection(&module));
    let mut made = InstanceSection::new();
    made.instantiate(0, [] as [(&str, ModuleArg); 0]);
    component.section(&made);
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

#[test]
fn a_component_that_takes_too_long_to_compile_is_given_up_on() {
    let lab = Lab::new();
    let agent = lab.file("laborious.wasm", laborious());
    for command in ["run", "describe"] {
        let call = lab.call([command, &agent, "--load-timeout", "100ms"]);
        // Whatever the test's own cache keeps: this is never in it.
        let done = call.env("WASM_AGENT_CACHE_DIR", lab.path("cache")).done();
        assert_eq!(done.code(), 2, "{}", done.shown());
        let said = done.stderr();
        assert!(said.contains("takes longer than 100ms"), "{said}");
        assert!(
            said.contains("hint: give it more time with `--load-timeout`"),
            "{said}"
        );
    }
    assert!(lab.accounts().is_empty(), "there was no run");
}

#[test]
fn an_interrupt_ends_compiling() {
    for signal in [Signal::INT, Signal::TERM] {
        let lab = Lab::new();
        let agent = lab.file("laborious.wasm", laborious());
        let call = lab.run(&agent, "x");
        let call = call.env("WASM_AGENT_LOG", "wasm_agent=debug");
        let mut running = call.env("WASM_AGENT_CACHE_DIR", lab.path("cache")).spawn();
        let lines = running.stderr_lines();
        wait_for(&lines, "compiling");
        running.signal(signal);
        wait_for(&lines, "interrupted before there was a run");
        wait_for(&lines, "hint: nothing was run");
        assert_eq!(running.wait().code(), Some(2));
        assert!(lab.accounts().is_empty(), "there was no run");
    }
}
