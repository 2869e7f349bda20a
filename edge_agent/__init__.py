"""The device's side: run models on live sensor data, publish predictions, take new versions."""
