"""What the verbs do: each joins the rooms below, none knows another."""
