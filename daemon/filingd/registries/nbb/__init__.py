"""NBB CBSO: the annual accounts of the National Bank of Belgium, as five web-service products.

rules       what the operator configured, as one value
routes      products, paths and media types, as data
timeline    days, ages, windows, order of work
planning    which items should exist, and what has to change
requests    how to ask for an item now
question    what an answer is judged by
answers     what a response means
emptiness   what it means that there is nothing
payloads    what is inside the zips
sealing     when a day is complete
forgetting  what of a body is of a forgotten filing or enterprise
registry    the functions above, as one `ports.Registry`
"""
