"""Speed of torch_conv1d next to torch.nn.functional.conv1d: see run.py and report.py."""
