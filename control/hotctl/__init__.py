"""hotctl: what stands over an engine and never on its path: the projection to SQL, and the command line `hotctl`."""
