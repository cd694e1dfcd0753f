"""Other projects' interfaces over this service, so that their programs run by changing one import."""
