mod broken;
mod odd;
mod random;
mod real_time;
mod sketch;
mod speed;
mod unknown;
