//! `pinhole recommend`: the best items for users.

use super::arguments::{DeviceArgument, RunArgument};
use super::inputs::load_data;
use super::output::{say, say_json};
use pinhole::data::quoted;
use pinhole::error::{Error, Result};

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    run: RunArgument,
    /// The users with their items; only the test part if the data has one
    #[arg(long, value_name = "ratings:FILE|FILE.npz|ratings:USERS[:SEED]")]
    data: String,
    /// Recommend for one user: the name in the data, or the number counted from 0 where users have no names [default:
    /// all users]
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// The number of items for each user
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    n: u32,
    #[command(flatten)]
    device: DeviceArgument,
    /// Print a line of JSON for each user
    #[arg(long)]
    json: bool,
}

/// Prints the best items that users do not have yet, best first.
pub fn run(arguments: &Arguments) -> Result<()> {
    let autoencoder = arguments.run.load(&arguments.device)?;
    let splits = load_data(&arguments.run.path, autoencoder.network().spec().reading(), &arguments.data, None)?;
    let mut data = splits.test.unwrap_or(splits.train);
    let name = |row| data.sparse().map_or(String::new(), |rows| rows.row_name(row));
    let mut users: Vec<String> = (0..data.len()).map(name).collect();
    if let Some(user) = &arguments.user {
        let Some(row) = users.iter().position(|name| name == user) else {
            let problem = format!("it has no user {user:?}");
            let first = users.first().cloned().unwrap_or_default();
            let help = format!("give one of its {} users, such as {first:?}", users.len());
            return Err(Error::invalid(format!("data \"{}\"", data.name()), problem, help));
        };
        data = data.select(&[row as u32])?;
        users = vec![user.clone()];
    }
    let best = autoencoder.recommend(&data, arguments.n as usize)?;
    let item = |number: u32| data.sparse().map_or(String::new(), |rows| rows.column_name(number as usize));
    if !arguments.json {
        say("user,item,score")?;
    }
    for (user, best) in users.iter().zip(best) {
        if arguments.json {
            let scored = |(number, score)| serde_json::json!({ "item": item(number), "score": score });
            let items: Vec<_> = best.into_iter().map(scored).collect();
            say_json(&serde_json::json!({ "user": user, "items": items }))?;
        } else {
            for (number, score) in best {
                say(&format!("{},{},{score:.4}", quoted(user), quoted(&item(number))))?;
            }
        }
    }
    Ok(())
}
