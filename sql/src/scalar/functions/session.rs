//! Functions of the session: who asks, where, and with which settings.

use super::arguments::{boolean, text};
use crate::error::{SqlError, SqlState};
use crate::scalar::env::Env;
use crate::scalar::function::Function;
use crate::scalar::types::Type::{Boolean, Int, Text};
use crate::scalar::value::Value;

type Evaluated = Result<Value, SqlError>;

fn current_user(_: &[Value], env: &mut Env) -> Evaluated {
    Ok(Value::Text(env.session.user.clone()))
}

fn current_database(_: &[Value], env: &mut Env) -> Evaluated {
    Ok(Value::Text(env.session.database.clone()))
}

fn current_schema(_: &[Value], env: &mut Env) -> Evaluated {
    Ok(Value::Text(env.session.schema.clone()))
}

fn version(_: &[Value], env: &mut Env) -> Evaluated {
    Ok(Value::Text(env.session.version.clone()))
}

fn backend_pid(_: &[Value], env: &mut Env) -> Evaluated {
    Ok(Value::Int(i64::from(env.session.backend_pid)))
}

fn setting(name: &str, env: &Env) -> Option<Value> {
    env.session.settings.get(&name.to_ascii_lowercase()).map(|value| Value::Text(value.clone()))
}

fn current_setting(arguments: &[Value], env: &mut Env) -> Evaluated {
    let name = text(arguments, 0)?;
    let missing = || {
        let message = format!("unrecognized configuration parameter \"{name}\"");
        SqlError::new(SqlState::UNDEFINED_OBJECT, message)
    };
    setting(name, env).ok_or_else(missing)
}

fn current_setting_if(arguments: &[Value], env: &mut Env) -> Evaluated {
    if boolean(arguments, 1)? {
        return Ok(setting(text(arguments, 0)?, env).unwrap_or(Value::Null));
    }
    current_setting(arguments, env)
}

/// A UUID of version 4, as text.
fn gen_random_uuid(_: &[Value], env: &mut Env) -> Evaluated {
    let bits = u128::from(env.next_random()) << 64 | u128::from(env.next_random());
    let bits = bits & !(0xF << 76) & !(0b11 << 62) | 4 << 76 | 0b10 << 62;
    let hex = format!("{bits:032x}");
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    Ok(Value::Text(parts.join("-")))
}

pub(super) static FUNCTIONS: [Function; 9] = [
    Function::new("current_user", &[], Text, current_user).stable(),
    Function::new("session_user", &[], Text, current_user).stable(),
    Function::new("current_database", &[], Text, current_database).stable(),
    Function::new("current_schema", &[], Text, current_schema).stable(),
    Function::new("version", &[], Text, version).stable(),
    Function::new("pg_backend_pid", &[], Int, backend_pid).stable(),
    Function::new("current_setting", &[Text], Text, current_setting).stable(),
    Function::new("current_setting", &[Text, Boolean], Text, current_setting_if).stable(),
    Function::new("gen_random_uuid", &[], Text, gen_random_uuid).volatile(),
];
